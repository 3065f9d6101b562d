"""Rows that say the same are the same, whatever fields the mapping of each gives its messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from orchestrator.data.analysis import analyse
from orchestrator.data.inputs import Inputs
from orchestrator.data.same import prompt_hash, whole_hash
from orchestrator.data.shapes import EXTRAS, TEXTS
from orchestrator.data.verdicts import PROMPT, WHOLE
from orchestrator.spec.models import Spec

Message = dict[str, Any]
ASKED, ANSWERED = {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TEMPLATES = [{"role": "user", "content": "{{ q }}"}, {"role": "assistant", "content": "{{ a }}"}]


def digest(
    messages: list[Message],
    *extras: str,
    tools: list[str | None] | None = None,
    by: str = WHOLE,
) -> int | None:
    message = pl.Struct({**TEXTS, **{name: EXTRAS[name] for name in extras}})
    columns = {"messages": pl.Series([messages], dtype=pl.List(message))}
    if tools is not None:
        columns["tools"] = pl.Series(tools, dtype=pl.String)
    frame = pl.DataFrame(columns)
    hashed = frame.with_columns(prompt_hash(frame.schema).alias(PROMPT))
    hashed = hashed.with_columns(whole_hash(frame.schema, PROMPT).alias(WHOLE))
    found: int | None = hashed[by].item()
    return found


@pytest.mark.parametrize("by", [WHOLE, PROMPT])
@pytest.mark.parametrize("extras", [(name,) for name in EXTRAS] + [tuple(EXTRAS)])
def test_fields_without_a_value_change_nothing(by: str, extras: tuple[str, ...]) -> None:
    plain = digest([ASKED, ANSWERED], by=by)
    assert plain is not None
    assert digest([ASKED, ANSWERED], *extras, by=by) == plain
    assert digest([ASKED, ANSWERED], *extras, tools=[None], by=by) == plain


def test_a_weight_is_not_said() -> None:
    assert digest([ASKED, {**ANSWERED, "weight": 1}], "weight") == digest([ASKED, ANSWERED])


def test_what_differs_has_another_hash() -> None:
    different = [
        digest([ASKED, ANSWERED]),
        digest([ANSWERED, ASKED]),
        digest([ASKED, ANSWERED], tools=["[]"]),
        digest([ASKED]),
        digest([ASKED, ASKED, ANSWERED]),
        digest([ASKED, {**ANSWERED, "tool_calls": [CALL]}], "tool_calls"),
        digest([ASKED, {**ANSWERED, "name": "x"}], "name"),
        digest([{**ASKED, "name": "x"}, ANSWERED], "name"),
        digest([ASKED, {**ANSWERED, "reasoning_content": "x"}], "reasoning_content"),
        digest([ASKED, {**ANSWERED, "tool_call_id": "x"}], "tool_call_id"),
        digest([ASKED, {**ANSWERED, "tool_call_id": "x", "name": "x"}], "tool_call_id", "name"),
    ]
    assert len(set(different)) == len(different)


def test_overlaps_are_found_between_mappings_of_other_fields(tmp_path: Path) -> None:
    """Training has weights and a field of calls, held-out rows are plain columns."""
    talks = [
        [{**ASKED, "content": f"q{n}"}, {**ANSWERED, "content": f"a{n}", "weight": 1, "tool_calls": None}]
        for n in range(4)
    ]
    talks[3][1]["tool_calls"] = [CALL]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps({"m": talk}) + "\n" for talk in talks))
    held_out = [("q0", "a0"), ("q1", "other"), ("q9", "a9"), ("q3", "a3")]
    (tmp_path / "held.jsonl").write_text("".join(json.dumps({"q": q, "a": a}) + "\n" for q, a in held_out))
    validation = {"source": "held.jsonl", "mapping": {"messages": TEMPLATES}}
    spec = Spec.model_validate(
        {
            "name": "n",
            "base_model": "b",
            "dataset": {"source": "train.jsonl", "validation": validation},
            "mapping": {"conversation": {"column": "m"}},
        }
    )
    report = analyse(Inputs.open(spec, tmp_path, None), tmp_path).report
    rows = {finding.code: [example.row for example in finding.examples] for finding in report.findings}
    assert rows["validation_rows_in_training"] == [1]
    assert rows["validation_prompts_in_training"] == [2, 4]
