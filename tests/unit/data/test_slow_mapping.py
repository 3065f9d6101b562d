"""Mappings with templates that only Jinja runs: told, judged row by row, and forbidden on demand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from orchestrator.data.analysis import Analysis, UnfitError, analyse, refuse
from orchestrator.data.inputs import Inputs
from orchestrator.data.mapping import compile_mapping
from orchestrator.data.report import Finding
from orchestrator.errors import SpecError
from orchestrator.spec.mapping import Mapping
from orchestrator.spec.models import Spec

LISTED = "all:\n{% for tag in tags %}{{ loop.revindex }}{{ tag.upper() ~ (tag * n)[0:0] }} {% endfor %}"


def analysed(folder: Path, rows: list[dict[str, Any]], *, strict: bool = False, **mapping: Any) -> Analysis:
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    messages = [{"role": "user", "content": "q{{ n }}"}, {"role": "assistant", "content": LISTED}]
    spec = Spec.model_validate(
        {
            "name": "slow",
            "base_model": "model",
            "dataset": {"source": "rows.jsonl"},
            "mapping": {"messages": messages, **mapping},
        }
    )
    return analyse(Inputs.open(spec, folder, None), folder, strict=strict, max_red_share=0.6)


def finding(analysis: Analysis, code: str) -> Finding:
    (found,) = [finding for finding in analysis.report.findings if finding.code == code]
    return found


def answers(analysis: Analysis) -> list[str]:
    return [sample.example["messages"][1]["content"] for sample in analysis.summary().samples]


def test_a_slow_template_is_told_with_its_constructs(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, [{"n": 1, "tags": ["b", "c"]}, {"n": 2, "tags": []}])
    assert answers(analysis) == ["all:\n2B 1C ", "all:\n"]
    slow = finding(analysis, "slow_template")
    assert slow.severity == "warn"
    assert "mapping.messages[1].content runs row by row" in slow.message
    assert "a {% for %} loop that reads `n` from outside of it (line 2)" in slow.message
    assert slow.fix


def test_strict_takes_it_for_a_fault(tmp_path: Path) -> None:
    with pytest.raises(UnfitError, match="runs row by row"):
        analysed(tmp_path, [{"n": 1, "tags": ["b", "c"]}], strict=True)


def test_a_row_that_cannot_be_rendered_is_red_with_its_message(tmp_path: Path) -> None:
    rows = [{"n": 1, "tags": ["b"]}, {"n": 10**9, "tags": ["c"]}, {"n": 3, "tags": [None]}]
    analysis = analysed(tmp_path, rows)
    assert answers(analysis) == ["all:\n1B ", "all:\n1 "]
    assert (analysis.report.green, analysis.report.yellow, analysis.report.red) == (1, 1, 1)
    failed = finding(analysis, "template_failed")
    assert [(one.row, one.line, one.field, one.value) for one in failed.examples] == [
        (2, 2, "mapping.messages[1].content", "it needs more than 256 MiB of memory")
    ]


def test_a_slow_condition_keeps_the_rows_it_fails_on_and_makes_them_red(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"n": n, "tags": [str(n)]} for n in range(4)]
    analysis = analysed(tmp_path, rows, where="('abc'[n] and n.bit_length() > 0) or tags[0].index('0') == 0")
    assert answers(analysis) == ["all:\n10 ", "all:\n11 ", "all:\n12 "]
    failed = finding(analysis, "template_failed")
    assert [(one.row, one.field) for one in failed.examples] == [(4, "mapping.where")]
    assert "substring not found" in str(failed.examples[0].value)


def test_the_operator_may_forbid_slow_templates() -> None:
    schema = pl.Schema({"tags": pl.List(pl.String), "n": pl.Int64})
    mapping = {"messages": [{"role": "assistant", "content": LISTED}], "where": "tags | max"}
    with pytest.raises(SpecError) as caught:
        compile_mapping(Mapping.model_validate(mapping), schema, "forbid")
    faults = caught.value.faults
    assert [(fault.path, fault.what) for fault in faults] == [
        ("mapping.where", "the filter `max` lies outside the compiled core"),
        ("mapping.messages[0].content", "a {% for %} loop that reads `n` from outside of it"),
    ]
    assert all("slow_templates: forbid" in str(fault.why) for fault in faults)
    assert "line 2, column 65 of the template" in str(faults[1].why)


def test_what_was_prepared_before_they_were_forbidden_is_refused_too(tmp_path: Path) -> None:
    report = analysed(tmp_path, [{"n": 1, "tags": ["b"]}]).report
    refuse(report, "allow", strict=False, max_red_share=0.1)
    with pytest.raises(UnfitError) as caught:
        refuse(report, "forbid", strict=False, max_red_share=0.1)
    assert "slow_templates: forbid" in str(caught.value)
