"""Calls of tools, weights and what else a message may have are carried in one form, and checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from orchestrator.data.canonical import aligned, line
from orchestrator.data.compiled import CompiledMapping
from orchestrator.data.mapping import compile_mapping
from orchestrator.data.shapes import CONVERSATION
from orchestrator.data.sources import Source, open_source, read_source
from orchestrator.data.verdicts import Judged, judge
from orchestrator.errors import SpecError
from orchestrator.spec.mapping import Mapping

MAPPING = {"conversation": {"column": "m"}}
OFFERED = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


def compiled(
    folder: Path, rows: list[dict[str, Any]], mapping: dict[str, Any]
) -> tuple[Source, CompiledMapping]:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = read_source(open_source("rows.jsonl", folder), folder / "scratch")
    return source, compile_mapping(Mapping.model_validate(mapping), source.schema)


def judged(folder: Path, rows: list[dict[str, Any]], **mapping: Any) -> Judged:
    source, compiled_mapping = compiled(folder, rows, {**MAPPING, **mapping})
    return judge(source, compiled_mapping, folder / "mapped.arrow")


def examples(of: Judged) -> list[dict[str, Any]]:
    """The mapped rows without nulls."""
    rows = of.rows.collect().select("messages", pl.col("^tools$")).to_dicts()
    return [without_nulls(row) for row in rows]


def without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_nulls(entry) for key, entry in value.items() if entry is not None}
    return [without_nulls(entry) for entry in value] if isinstance(value, list) else value


def codes(of: Judged) -> dict[str, list[int]]:
    return {found.code: [example.row for example in found.examples] for found in of.report.findings}


def say(role: str, content: str | None, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


def call(name: str | None, arguments: Any, **more: Any) -> dict[str, Any]:
    return {**more, "type": "function", "function": {"name": name, "arguments": arguments}}


ASK, DONE = say("user", "a"), say("assistant", "b")


@pytest.mark.parametrize("text", [False, True], ids=["list", "JSON text"])
def test_openai_calls_are_carried(tmp_path: Path, text: bool) -> None:
    messages = [
        ASK,
        say("assistant", None, tool_calls=[call("f", '{"x": null}', id="c1"), call("f", "{}", id="c2")]),
        say("tool", "1", tool_call_id="c1", name="f"),
        say("tool", "2", tool_call_id="c2"),
        say("assistant", "b", reasoning_content="so it is"),
    ]
    row = {"m": json.dumps(messages) if text else messages, "t": json.dumps([OFFERED])}
    of = judged(tmp_path, [row], tools="t")
    carried = [*messages[:1], {**messages[1], "content": ""}, *messages[2:]]
    assert examples(of) == [{"messages": carried, "tools": json.dumps([OFFERED])}]
    assert (of.report.green, codes(of)) == (1, {})


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        (call("f", {"x": 1}), '{"x": 1}'),
        ({"name": "f", "arguments": {"x": "é"}}, '{"x": "é"}'),
        ({"name": "f", "parameters": {"x": [1, 2]}}, '{"x": [1, 2]}'),
        ({"name": "f", "arguments": '{"x": 1.0}'}, '{"x": 1.0}'),
    ],
)
@pytest.mark.parametrize("form", ["list", "JSON text", "function_call"])
def test_other_forms_of_calls(tmp_path: Path, given: dict[str, Any], arguments: str, form: str) -> None:
    fields = {
        "list": {"tool_calls": [given]},
        "JSON text": {"tool_calls": json.dumps([given])},
        "function_call": {"function_call": given.get("function", given)},
    }[form]
    of = judged(tmp_path, [{"m": [ASK, say("assistant", "", **fields)]}])
    assert examples(of)[0]["messages"][1]["tool_calls"] == [call("f", arguments)]
    assert of.report.green == 1


def test_sharegpt_calls(tmp_path: Path) -> None:
    said = [
        ("human", "a"),
        ("function_call", '{"name": "f", "arguments": {"x": 1}}'),
        ("observation", "1"),
        ("function_call", '[{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}]'),
        ("observation", "2"),
        ("gpt", '{"name": "f", "arguments": {}}'),
        ("function_call", "no call"),
    ]
    rows = [{"m": [{"from": who, "value": what} for who, what in said], "tools": "[]"}]
    of = judged(tmp_path, rows, tools="tools")
    assert examples(of) == [
        {
            "messages": [
                ASK,
                say("assistant", "", tool_calls=[call("f", '{"x": 1}')]),
                say("tool", "1"),
                say("assistant", "", tool_calls=[call("f", "{}"), call("g", "{}")]),
                say("tool", "2"),
                say("assistant", '{"name": "f", "arguments": {}}'),
                say("assistant", "no call"),
            ]
        }
    ]
    assert codes(of) == {"roles_do_not_alternate": [1], "tool_not_offered": [1]}


def test_calls_are_checked(tmp_path: Path) -> None:
    asks = say("assistant", "", tool_calls=[call("f", "{}")])
    rows: list[dict[str, Any]] = [
        {"m": [ASK, asks, say("tool", "1"), DONE], "t": [OFFERED]},
        {"m": [ASK, say("assistant", "", tool_calls=[call("f", "{oops")])], "t": [OFFERED]},
        {"m": [ASK, say("assistant", "", tool_calls=[call("f", "[1]")])], "t": [OFFERED]},
        {"m": [ASK, say("assistant", "", tool_calls=[call(None, "{}")])], "t": [OFFERED]},
        {"m": [ASK, say("assistant", "", tool_calls=[call("g", "{}"), call("f", "{}")])], "t": [OFFERED]},
        {"m": [ASK, asks], "t": None},
        {"m": [ASK, asks, ASK, DONE], "t": [OFFERED]},
        {"m": [ASK, say("tool", "1"), DONE], "t": [OFFERED]},
        {"m": [ASK, DONE], "t": [OFFERED]},
    ]
    of = judged(tmp_path, rows, tools="t")
    assert codes(of) == {
        "tool_call_unreadable": [2, 3, 4],
        "tool_not_offered": [5, 6],
        "tool_call_without_answer": [7],
        "tool_message_without_call": [8],
    }
    (missing,) = [found for found in of.report.findings if found.code == "tool_not_offered"]
    assert [example.value for example in missing.examples] == ["g", "f"]
    assert (of.report.green, of.report.yellow, of.report.red) == (2, 4, 3)


@pytest.mark.parametrize(
    ("given", "tools"),
    [
        ([OFFERED], [OFFERED]),
        (json.dumps([OFFERED]), [OFFERED]),
        (json.dumps([OFFERED["function"]]), [OFFERED]),
        (json.dumps(OFFERED), [OFFERED]),
        ("[]", None),
        (" ", None),
        (None, None),
        ("{broken", ""),
        ('"text"', ""),
        ("[1]", ""),
    ],
)
def test_tools(tmp_path: Path, given: Any, tools: Any) -> None:
    of = judged(tmp_path, [{"m": [ASK, DONE], "t": given}], tools="t")
    written = examples(of)[0].get("tools")
    assert (json.loads(written) if written else written) == tools
    assert of.report.red == (tools == "")


def test_weights(tmp_path: Path) -> None:
    rows = [
        {"m": [ASK, say("assistant", "", weight=0), ASK, say("assistant", "b", weight=1)]},
        {"m": [ASK, say("assistant", "b", weight=2)]},
        {"m": [ASK, say("assistant", "b", weight=0)]},
        {"m": [say("user", "a", weight=1), say("assistant", "b", weight=0)]},
    ]
    of = judged(tmp_path, rows)
    assert [[message.get("weight") for message in row["messages"]] for row in examples(of)] == [
        [None, 0, None, 1],
        [None, None],
        [None, 0],
        [1, 0],
    ]
    assert codes(of) == {"invalid_weight": [2], "no_trained_message": [3]}


@pytest.mark.parametrize("weight", ["-1", "0.5", "true", "1.0", '"1"', "[1]", "1e999", "1" + "0" * 400])
def test_a_weight_in_text_may_be_anything(tmp_path: Path, weight: str) -> None:
    text = f'[{{"role":"user","content":"a"}},{{"role":"assistant","content":"b","weight":{weight}}}]'
    assert ("invalid_weight" in codes(judged(tmp_path, [{"m": text}]))) == (weight not in ("true", "1.0"))


def test_the_last_answer_alone_is_trained(tmp_path: Path) -> None:
    rows = [{"m": [ASK, DONE, ASK, DONE, ASK, DONE, ASK]}, {"m": [ASK, DONE]}]
    of = judged(tmp_path, rows, train_on="last")
    assert [[message.get("weight") for message in row["messages"]] for row in examples(of)] == [
        [None, 0, None, 0, None, None, None],
        [None, None],
    ]


def test_weights_of_templates(tmp_path: Path) -> None:
    mapping = {
        "messages": [
            {"role": "system", "content": "{{ s }}"},
            {"role": "user", "content": "{{ q }}"},
            {"role": "assistant", "content": "an example", "weight": 0},
            {"role": "user", "content": "{{ q }}"},
            {"role": "assistant", "content": "{{ a }}"},
        ]
    }
    source, compiled_mapping = compiled(tmp_path, [{"q": "a", "a": "b", "s": None}], mapping)
    of = judge(source, compiled_mapping, tmp_path / "mapped.arrow")
    assert examples(of)[0]["messages"] == [ASK, say("assistant", "an example", weight=0), ASK, DONE]


@pytest.mark.parametrize(
    ("row", "mapping", "path", "words"),
    [
        ({"m": [say("user", "a", weight="x")]}, {}, "conversation.column", "`weight`"),
        ({"m": [say("user", "a", tool_calls=1)]}, {}, "conversation.column", "not calls"),
        ({"m": [say("user", "a", name=[1])]}, {}, "conversation.column", "`name`"),
        ({"m": [ASK]}, {"tools": "t"}, "tools", "no such column"),
        ({"m": [ASK], "t": 1}, {"tools": "t"}, "tools", "not tools"),
    ],
)
def test_what_does_not_fit_is_a_fault(
    tmp_path: Path, row: dict[str, Any], mapping: dict[str, Any], path: str, words: str
) -> None:
    with pytest.raises(SpecError) as caught:
        judged(tmp_path, [row], **mapping)
    (fault,) = caught.value.faults
    assert fault.path == f"mapping.{path}"
    assert words in str(fault)


def test_the_text_of_a_row_is_the_documented_one(tmp_path: Path) -> None:
    asks = say("assistant", "", tool_calls=[call("f", '{"x":1}', id="c1")], weight=1)
    of = judged(tmp_path, [{"m": [ASK, asks], "t": [OFFERED]}, {"m": [ASK, DONE], "t": None}], tools="t")
    rows = of.rows
    texts = rows.select(line(rows.collect_schema())).collect().to_series().to_list()
    tools = json.dumps([OFFERED])
    assert texts == [
        f'user:1:a,assistant:0:;weight:1:1;tool_calls:16:2:c11:f7:{{"x":1}},;tools:{len(tools)}:{tools}',
        "user:1:a,assistant:1:b,",
    ]


def test_files_with_other_fields_are_brought_together(tmp_path: Path) -> None:
    parts = []
    for name, rows in {
        "plain": [{"m": [ASK, DONE]}],
        "weights": [{"m": [ASK, {**DONE, "weight": 1}]}],
        "calls": [{"m": [ASK, say("assistant", "", tool_calls=[call("f", "{}")])], "t": [OFFERED]}],
    }.items():
        (tmp_path / name).mkdir()
        of = judged(tmp_path / name, rows, **({"tools": "t"} if name == "calls" else {}))
        parts.append(of.rows.select("messages", pl.col("^tools$")))
    both = pl.concat(aligned(parts, CONVERSATION)).collect()
    assert [without_nulls(row) for row in both.to_dicts()] == [
        {"messages": [ASK, DONE]},
        {"messages": [ASK, {**DONE, "weight": 1}]},
        {
            "messages": [ASK, say("assistant", "", tool_calls=[call("f", "{}")])],
            "tools": json.dumps([OFFERED]),
        },
    ]


def test_half_a_surrogate_pair_stays_an_escape(tmp_path: Path) -> None:
    said = '{"name": "f", "arguments": {"x": "\\ud83d é"}}'
    rows = [{"m": [{"from": "human", "value": "a"}, {"from": "function_call", "value": said}]}]
    (message,) = examples(judged(tmp_path, rows))[0]["messages"][1:]
    assert message["tool_calls"] == [call("f", json.dumps({"x": "\ud83d é"}))]
    broken = [
        json.dumps([ASK, say("assistant", "\ud83d")]),
        json.dumps([ASK, say("assistant", "\U0001f600")]),
    ]
    assert codes(judged(tmp_path, [{"m": text} for text in broken])) == {"missing_messages_list": [1]}
    calls = [{"type": "function", "function": {"name": "\ud83d", "arguments": "{}"}}]
    rows = [{"m": [ASK, say("assistant", "", tool_calls=json.dumps(calls))]}]
    assert codes(judged(tmp_path, rows)) == {"tool_call_unreadable": [1]}
