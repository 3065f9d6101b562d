"""Mappings make the right messages, and judge every row that they cannot make good ones of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from orchestrator.data.checks import MESSAGES
from orchestrator.data.mapping import compile_mapping
from orchestrator.data.report import Finding
from orchestrator.data.shapes import CONVERSATION, ROLES
from orchestrator.data.sources import open_source, read_source
from orchestrator.data.verdicts import Judged, judge
from orchestrator.errors import Fault, SpecError
from orchestrator.spec.mapping import Mapping

Messages = list[tuple[str | None, str]]


def mapped(folder: Path, rows: list[dict[str, Any]], mapping: dict[str, Any]) -> Judged:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = read_source(open_source("rows.jsonl", folder), folder / "scratch")
    compiled = compile_mapping(Mapping.model_validate(mapping), source.schema)
    return judge(source, compiled, folder / "mapped.arrow")


def messages(judged: Judged) -> list[Messages | None]:
    column = judged.rows.collect().get_column(MESSAGES).to_list()
    return [row and [(message["role"], message["content"]) for message in row] for row in column]


def verdicts(judged: Judged) -> tuple[int, int, int]:
    return judged.report.green, judged.report.yellow, judged.report.red


def finding(judged: Judged, code: str) -> Finding:
    (found,) = [finding for finding in judged.report.findings if finding.code == code]
    return found


def codes(judged: Judged) -> dict[str, list[int]]:
    """Of every finding, the rows it names."""
    return {found.code: [example.row for example in found.examples] for found in judged.report.findings}


TEMPLATES = {
    "messages": [
        {"role": "system", "content": "{{ system | trim }}"},
        {"role": "user", "content": "{{ subject }}{% if body %}: {{ body }}{% endif %}"},
        {"role": "assistant", "content": "{{ queue }}"},
    ]
}


def test_templates(tmp_path: Path) -> None:
    rows = [
        {"system": "Be brief.", "subject": "Login", "body": "It fails", "queue": "tech"},
        {"system": " \u2003\n", "subject": "Bill", "body": "", "queue": "billing"},
        {"subject": "", "body": None, "queue": "tech"},
        {"system": "Be brief.", "subject": "Hi", "queue": None},
    ]
    judged = mapped(tmp_path, rows, TEMPLATES)
    assert messages(judged) == [
        [("system", "Be brief."), ("user", "Login: It fails"), ("assistant", "tech")],
        [("user", "Bill"), ("assistant", "billing")],
        [("user", ""), ("assistant", "tech")],
        [("system", "Be brief."), ("user", "Hi"), ("assistant", "")],
    ]
    assert verdicts(judged) == (1, 2, 1)
    assert judged.rows.collect().get_column("red").to_list() == [False, False, False, True]
    assert codes(judged) == {"empty_field": [3], "missing_content": [4]}
    red = finding(judged, "missing_content")
    assert (red.severity, red.count, red.examples[0].line) == ("error", 1, 4)
    assert red.examples[0].field == "mapping.messages[2].content"


def test_system_messages_anywhere_are_left_out_when_blank(tmp_path: Path) -> None:
    mapping = {
        "messages": [
            {"role": "user", "content": "{{ q }}"},
            {"role": "system", "content": "{{ s }}"},
            {"role": "assistant", "content": "{{ a }}"},
        ]
    }
    judged = mapped(tmp_path, [{"q": "1", "s": "x", "a": "2"}, {"q": "3", "s": None, "a": "4"}], mapping)
    assert messages(judged) == [
        [("user", "1"), ("system", "x"), ("assistant", "2")],
        [("user", "3"), ("assistant", "4")],
    ]
    assert finding(judged, "system_not_first").count == 2


def test_where_leaves_rows_out_and_keeps_their_numbers(tmp_path: Path) -> None:
    rows = [{"q": "a", "a": "x", "n": 1}, {"q": "b", "a": "", "n": 5}, {"q": "c", "a": "y", "n": 7}]
    mapping = {
        "messages": [{"role": "user", "content": "{{ q }}"}, {"role": "assistant", "content": "{{ a }}"}],
        "where": "n > 3",
    }
    judged = mapped(tmp_path, rows, mapping)
    assert verdicts(judged) == (1, 0, 1)
    assert finding(judged, "missing_content").examples[0].row == 2
    assert finding(judged, "where").count == 1


def test_faults_of_a_mapping_come_together(tmp_path: Path) -> None:
    mapping = {
        "messages": [
            {"role": "user", "content": "{{ subjet }}"},
            {"role": "assistant", "content": "{{ queue | shout }}"},
        ],
        "where": "urgent",
    }
    with pytest.raises(SpecError) as caught:
        mapped(tmp_path, [{"subject": "x", "queue": "y"}], mapping)
    paths = {fault.path for fault in caught.value.faults}
    assert paths == {"mapping.where", "mapping.messages[0].content", "mapping.messages[1].content"}
    assert any("did you mean `subject`" in (fault.fix or "") for fault in caught.value.faults)


def conversation(**fields: Any) -> dict[str, Any]:
    return {"conversation": {"column": "m", **fields}}


def openai(*pairs: tuple[str | None, str | None]) -> list[dict[str, str | None]]:
    return [{"role": role, "content": content} for role, content in pairs]


def test_sharegpt_roles_are_mapped(tmp_path: Path) -> None:
    turns = [("human", "a"), ("function_call", '{"name": "f"}'), ("observation", "1"), ("gpt", "b")]
    judged = mapped(tmp_path, [{"m": [{"from": r, "value": v} for r, v in turns]}], conversation())
    assert messages(judged) == [
        [("user", "a"), ("assistant", '{"name": "f"}'), ("tool", "1"), ("assistant", "b")]
    ]
    assert codes(judged) == {"tool_message_without_call": [1]}


def test_fields_and_roles_of_the_spec(tmp_path: Path) -> None:
    rows = [{"m": [{"who": "customer", "said": "a"}, {"who": "agent", "said": "b"}]}]
    own = conversation(role="who", content="said", roles={"customer": "user", "agent": "assistant"})
    assert messages(mapped(tmp_path, rows, own)) == [[("user", "a"), ("assistant", "b")]]


def test_the_system_column_opens_conversations_without_one(tmp_path: Path) -> None:
    talk = openai(("user", "a"), ("assistant", "b"))
    own = openai(("system", "own"), ("user", "a"), ("assistant", "b"))
    rows = [
        {"m": talk, "s": "given"},
        {"m": own, "s": "given"},
        {"m": talk, "s": " "},
        {"m": talk, "s": None},
        {"m": None, "s": "given"},
    ]
    judged = mapped(tmp_path, rows, conversation(system="s"))
    plain = [("user", "a"), ("assistant", "b")]
    assert messages(judged) == [
        [("system", "given"), *plain],
        [("system", "own"), *plain],
        plain,
        plain,
        None,
    ]
    assert verdicts(judged) == (3, 1, 1)
    assert codes(judged) == {"missing_messages_list": [5], "two_systems": [2]}


def test_a_system_column_without_a_value(tmp_path: Path) -> None:
    rows = [{"m": openai(("user", "a"), ("assistant", "b")), "s": None}]
    judged = mapped(tmp_path, rows, conversation(system="s"))
    assert messages(judged) == [[("user", "a"), ("assistant", "b")]]


def test_conversations_that_teach_nothing_are_red(tmp_path: Path) -> None:
    good = openai(("user", "a"), ("assistant", "b"))
    rows: list[dict[str, Any]] = [
        {"m": good},
        {"m": None},
        {"m": []},
        {"m": openai(("user", "a"))},
        {"m": openai(("user", "a"), ("assistant", " "))},
        {"m": openai(("user", "a"), ("assistant", None))},
        {"m": openai(("user", "a"), ("assistant", "b"), ("user", "c"), ("assistant", ""))},
        {"m": openai(("bot", "a"), ("assistant", "b"))},
        {"m": openai((None, "a"), ("assistant", "b"))},
        {"m": openai(("system", ""))},
    ]
    judged = mapped(tmp_path, rows, conversation())
    assert verdicts(judged) == (1, 0, 9)
    assert codes(judged) == {
        "missing_messages_list": [2, 3, 10],
        "unrecognized_role": [8, 9],
        "example_missing_assistant_message": [4],
        "missing_content": [5, 6, 7],
        "example_missing_user_message": [8, 9],
    }


def test_unknown_roles_are_counted(tmp_path: Path) -> None:
    rows = [{"m": openai(("bot", "a"), ("Assistant", "b"))}, {"m": openai(("bot", "a"), ("bot", "b"))}]
    found = finding(mapped(tmp_path, rows, conversation()), "unrecognized_role")
    assert found.count == 2
    assert "'bot' in 2, 'Assistant' in 1" in found.message
    assert [example.value for example in found.examples] == ["bot, Assistant", "bot"]


def test_odd_conversations_are_yellow(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"m": openai(("user", "a"), ("user", "b"), ("assistant", "c"))},
        {"m": openai(("user", "a"), ("assistant", "b"), ("assistant", "c"))},
        {"m": openai(("user", "a"), ("assistant", "b"), ("user", "c"))},
        {"m": openai(("assistant", "b"))},
        {"m": openai(("user", "a"), ("system", "s"), ("assistant", "b"))},
        {"m": openai(("user", " "), ("assistant", "b"))},
        {"m": openai(("user", None), ("assistant", "b"))},
        {"m": [*openai(("user", "a")), {"role": "assistant", "content": "b", "mood": "glad"}]},
        {"m": openai(("user", "a"), ("assistant", "b"), ("tool", "x"), ("tool", "y"), ("assistant", "c"))},
    ]
    judged = mapped(tmp_path, rows, conversation())
    assert verdicts(judged) == (1, 8, 0)
    assert codes(judged) == {
        "empty_message": [6, 7],
        "roles_do_not_alternate": [1, 2],
        "last_message_not_assistant": [3],
        "example_missing_user_message": [4],
        "system_not_first": [5],
        "message_unrecognized_key": [8],
    }
    assert finding(judged, "message_unrecognized_key").examples[0].field == "m[].mood"
    assert messages(judged)[6] == [("user", ""), ("assistant", "b")]


def test_a_column_of_json_text(tmp_path: Path) -> None:
    sharegpt = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    parts = [{"role": "user", "content": [{"type": "image_url"}]}]
    called = [*openai(("user", "a")), {"role": "assistant", "content": "b", "mood": "glad"}]
    texts = [json.dumps(sharegpt), json.dumps(openai(("user", "c"), ("assistant", "d")))]
    texts += ["[{", '"text"', "[1]", "", json.dumps(parts), json.dumps(called)]
    judged = mapped(tmp_path, [*({"m": text} for text in texts), {"m": None}], conversation())
    assert messages(judged)[:2] == [[("user", "a"), ("assistant", "b")], [("user", "c"), ("assistant", "d")]]
    assert verdicts(judged) == (2, 1, 6)
    assert finding(judged, "missing_messages_list").count == 5
    assert codes(judged)["content_parts"] == [7]
    assert codes(judged)["message_unrecognized_key"] == [8]


@pytest.mark.parametrize(
    ("row", "mapping", "path", "words"),
    [
        ({"m": "x"}, {"column": "mm"}, "column", "did you mean `m`"),
        ({"m": 1}, {"column": "m"}, "column", "not a list of messages"),
        ({"m": ["a"]}, {"column": "m"}, "column", "not a list of messages"),
        ({"m": [{"who": "a", "text": "b"}]}, {"column": "m"}, "column", "who, text"),
        ({"m": [{"role": "user", "content": {"text": "x"}}]}, {"column": "m"}, "column", "not text"),
        ({"m": openai(("user", "a")), "s": 1}, {"column": "m", "system": "s"}, "system", "holds no text"),
        ({"m": openai(("user", "a"))}, {"column": "m", "system": "s"}, "system", "no such column"),
        ({"m": openai(("user", "a"))}, {"column": "m", "answer": "n"}, "answer", "no such column"),
        ({"m": openai(("user", "a")), "n": 1}, {"column": "m", "answer": "n"}, "answer", "not a list"),
        (
            {"m": openai(("user", "a")), "n": [{"role": "assistant", "content": 1}]},
            {"column": "m", "answer": "n"},
            "answer",
            "`content` holds Int64 here, String in `m`",
        ),
    ],
)
def test_a_conversation_that_does_not_fit(
    tmp_path: Path, row: dict[str, Any], mapping: dict[str, Any], path: str, words: str
) -> None:
    with pytest.raises(SpecError) as caught:
        mapped(tmp_path, [row], {"conversation": mapping})
    (fault,) = caught.value.faults
    assert isinstance(fault, Fault)
    assert fault.path == f"mapping.conversation.{path}"
    assert words in str(fault)


ASKED, ANSWERED = openai(("system", "s"), ("user", "q")), openai(("assistant", "w"))


@pytest.mark.parametrize("as_text", [False, True], ids=["lists", "JSON text"])
def test_messages_in_two_columns(tmp_path: Path, as_text: bool) -> None:
    """As TRL has prompts and completions; only the answers have weights, and one row has none."""
    weighted = [{**ANSWERED[0], "weight": 1}]
    pairs: list[tuple[Any, Any]] = [(ASKED, weighted), (ASKED, ANSWERED), (None, ANSWERED), (ASKED, None)]
    if as_text:
        pairs = [(json.dumps(asked), json.dumps(answered)) for asked, answered in pairs]
    rows = [{"p": asked, "c": answered} for asked, answered in pairs]
    judged = mapped(tmp_path, rows, {"conversation": {"column": "p", "answer": "c"}})
    whole = [("system", "s"), ("user", "q"), ("assistant", "w")]
    assert messages(judged)[:2] == [whole, whole]
    assert [message["weight"] for message in judged.rows.collect()[MESSAGES][0]] == [None, None, 1]
    assert verdicts(judged) == (2, 0, 2)


def test_findings_name_five_rows_and_cut_values(tmp_path: Path) -> None:
    rows = [{"m": openai(("x" * 200, "a"), ("assistant", "b"))}] * 9
    found = finding(mapped(tmp_path, rows, conversation()), "unrecognized_role")
    assert [example.row for example in found.examples] == [1, 2, 3, 4, 5]
    assert len(found.examples[0].value or "") == 80


def test_the_shape_has_one_set_of_roles(tmp_path: Path) -> None:
    item = CONVERSATION.json_schema()["properties"]["messages"]["items"]
    assert tuple(item["properties"]["role"]["enum"]) == ROLES
    judged = mapped(tmp_path, [{"m": openai(("user", "a"), ("assistant", "b"))}], conversation())
    written = judged.rows.collect_schema()[MESSAGES]
    assert written == pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
    every = CONVERSATION.columns[MESSAGES].inner.fields  # type: ignore[attr-defined]
    assert list(item["properties"]) == [field.name for field in every]
