"""Tables with one turn in each row become conversations, in the order of their first rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from orchestrator.data.mapping import compile_mapping
from orchestrator.data.sources import open_source, read_source
from orchestrator.data.verdicts import Judged, judge
from orchestrator.errors import SpecError
from orchestrator.spec.mapping import Mapping

TURNS = {"conversation": "id", "role": "who", "content": "said"}


def judged(folder: Path, rows: list[dict[str, Any]], turns: dict[str, Any], **mapping: Any) -> Judged:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = read_source(open_source("rows.jsonl", folder), folder)
    wanted = Mapping.model_validate({"turns": {**TURNS, **turns}, **mapping})
    return judge(source, compile_mapping(wanted, source.schema), folder / "mapped.arrow")


def said(of: Judged) -> list[tuple[int, list[tuple[str | None, str]]]]:
    rows = of.rows.select("axo_row", "messages").collect().rows()
    return [(row, [(each["role"], each["content"]) for each in messages]) for row, messages in rows]


def codes(of: Judged) -> dict[str, list[int]]:
    return {found.code: [example.row for example in found.examples] for found in of.report.findings}


def turn(conversation: Any, who: str, text: str | None, **more: Any) -> dict[str, Any]:
    return {"id": conversation, "who": who, "said": text, **more}


def test_rows_of_a_conversation_may_lie_apart(tmp_path: Path) -> None:
    rows = [turn(2, "human", "a"), turn(1, "human", "c"), turn(2, "gpt", "b"), turn(1, "gpt", "d")]
    of = judged(tmp_path, rows, {})
    assert said(of) == [
        (1, [("user", "a"), ("assistant", "b")]),
        (2, [("user", "c"), ("assistant", "d")]),
    ]
    assert (of.report.rows, of.report.green, codes(of)) == (2, 2, {})


def test_a_column_orders_the_turns(tmp_path: Path) -> None:
    rows = [turn("x", "gpt", "b", at=2), turn("x", "human", "a", at=1), turn("x", "gpt", "d", at=10)]
    rows += [turn("x", "human", "c", at=9), turn("y", "human", "a", at=1), turn("y", "gpt", "b", at=1)]
    of = judged(tmp_path, rows, {"order": "at"})
    assert said(of) == [
        (1, [("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", "d")]),
        (5, [("user", "a"), ("assistant", "b")]),
    ]
    assert codes(of) == {"turns_of_same_order": [5]}


def test_verdicts_name_the_first_row_of_a_conversation(tmp_path: Path) -> None:
    rows = [
        turn("a", "user", "q"),
        turn("b", "user", "q"),
        turn("a", "assistant", "  "),
        turn("c", "boss", "q"),
        turn("c", "assistant", "r"),
        turn(None, "user", "q"),
        turn(None, "assistant", "r"),
    ]
    of = judged(tmp_path, rows, {})
    assert codes(of) == {
        "missing_conversation": [6],
        "unrecognized_role": [4],
        "example_missing_assistant_message": [2],
        "missing_content": [1],
        "example_missing_user_message": [4],
    }
    assert (of.report.rows, of.report.red) == (4, 4)
    (empty,) = [found for found in of.report.findings if found.code == "missing_content"]
    assert (empty.examples[0].field, empty.examples[0].line) == ("said", 1)


def test_roles_system_tools_and_calls(tmp_path: Path) -> None:
    tools = json.dumps([{"type": "function", "function": {"name": "f"}}])
    rows = [
        turn(1, "0", "q", s=None, t=None),
        turn(1, "function_call", '{"name": "f", "arguments": {}}', s="be brief", t=tools),
        turn(1, "observation", "3", s="other", t=None),
        turn(1, "1", "r", s=None, t=None),
    ]
    roles = {"0": "user", "1": "assistant"}
    of = judged(tmp_path, rows, {"roles": roles, "system": "s"}, tools="t", train_on="last")
    ((_, messages),) = said(of)
    assert messages == [
        ("system", "be brief"),
        ("user", "q"),
        ("assistant", ""),
        ("tool", "3"),
        ("assistant", "r"),
    ]
    example = of.rows.select("messages", "tools").collect().row(0, named=True)
    assert example["tools"] == tools
    assert [message["weight"] for message in example["messages"]] == [None, None, 0, None, None]
    assert example["messages"][2]["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert codes(of) == {}


def test_where_is_asked_of_each_turn(tmp_path: Path) -> None:
    rows = [
        turn(1, "user", "q", kind="x"),
        turn(1, "note", "n", kind="y"),
        turn(1, "assistant", "r", kind="x"),
    ]
    of = judged(tmp_path, rows, {}, where="kind == 'x'")
    assert said(of) == [(1, [("user", "q"), ("assistant", "r")])]


def test_many_conversations_keep_their_order(tmp_path: Path) -> None:
    rows = [turn(number % 500, ("user", "assistant")[number // 500], str(number)) for number in range(1000)]
    of = judged(tmp_path, rows, {})
    assert said(of) == [
        (number + 1, [("user", str(number)), ("assistant", str(number + 500))]) for number in range(500)
    ]


@pytest.mark.parametrize(
    ("row", "turns", "field", "words"),
    [
        (turn(1, "user", "q"), {"order": "att"}, "order", "no such column"),
        (turn(1, "user", "q", n=1), {"content": "n"}, "content", "no text"),
        (turn([1], "user", "q"), {}, "conversation", "not one value"),
        (turn(1, "user", "q", n=1), {"system": "n"}, "system", "no text"),
    ],
)
def test_what_does_not_fit(
    tmp_path: Path, row: dict[str, Any], turns: dict[str, Any], field: str, words: str
) -> None:
    with pytest.raises(SpecError) as caught:
        judged(tmp_path, [row], turns)
    (fault,) = caught.value.faults
    assert fault.path == f"mapping.turns.{field}"
    assert words in str(fault)


def test_a_condition_outside_the_core_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="never run row by row"):
        judged(tmp_path, [turn(1, "user", "q")], {}, where="said.title() == 'Q'")


def test_conversations_are_in_the_file_by_their_first_rows(tmp_path: Path) -> None:
    rows = [turn(number // 2, ("user", "assistant")[number % 2], "x") for number in range(40)]
    of = judged(tmp_path, rows, {})
    assert pl.read_ipc(tmp_path / "mapped.arrow").get_column("axo_row").to_list() == list(range(1, 41, 2))
    assert of.report.rows == 20
