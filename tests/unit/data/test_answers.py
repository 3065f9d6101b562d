"""Answers that are all the same, few, or at odds with each other are told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.data import answers
from orchestrator.data.answers import answer_findings
from orchestrator.data.lengths import without_counts
from orchestrator.data.mapping import compile_mapping
from orchestrator.data.report import Finding
from orchestrator.data.sources import open_source, read_source
from orchestrator.data.verdicts import judge
from orchestrator.spec.mapping import Mapping

MAPPING = {"messages": [{"role": "user", "content": "{{ q }}"}, {"role": "assistant", "content": "{{ a }}"}]}


def found(folder: Path, *pairs: tuple[str, str], mapping: object = MAPPING) -> dict[str, Finding]:
    (folder / "rows.jsonl").write_text("".join(json.dumps({"q": q, "a": a}) + "\n" for q, a in pairs))
    source = read_source(open_source("rows.jsonl", folder), folder)
    compiled = compile_mapping(Mapping.model_validate(mapping), source.schema)
    judged = without_counts(judge(source, compiled, folder / "mapped.arrow"))
    return {finding.code: finding for finding in answer_findings(judged)}


def test_classes_have_their_shares(tmp_path: Path) -> None:
    told = found(tmp_path, *((f"q{n}", ("tech", "billing", "tech", "tech")[n % 4]) for n in range(20)))
    assert set(told) == {"answer_classes"}
    assert told["answer_classes"].message.endswith("2 classes: 'tech' 75.0%, 'billing' 25.0%")
    assert (told["answer_classes"].severity, told["answer_classes"].count) == ("info", 20)


@pytest.mark.parametrize("part_rows", [1, 1000])
def test_the_same_prompt_with_several_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_rows: int
) -> None:
    monkeypatch.setattr(answers, "PART_ROWS", part_rows)
    billing = [(f"q{number}", "billing") for number in range(1, 9)]
    told = found(tmp_path, *billing, ("q3", "tech"), *((f"other {number}", "tech") for number in range(9)))
    torn = told["prompt_with_several_answers"]
    assert (torn.count, torn.severity, [example.row for example in torn.examples]) == (2, "warn", [3])


def test_one_answer_for_all(tmp_path: Path) -> None:
    told = found(tmp_path, *((f"q{n}", "yes") for n in range(6)))
    assert set(told) == {"answers_all_the_same"}
    assert "'yes'" in told["answers_all_the_same"].message


def test_nothing_is_told_of_answers_of_many_kinds(tmp_path: Path) -> None:
    assert found(tmp_path, *((f"q{n}", f"a{n % 21}") for n in range(210))) == {}
    assert found(tmp_path, *((f"q{n}", f"a{n % 2}") for n in range(9))) == {}


def test_red_rows_and_later_rows_count(tmp_path: Path) -> None:
    assert found(tmp_path, *((f"q{n}", "yes" if n % 2 else "") for n in range(20))).keys() == {
        "answers_all_the_same"
    }
    many = [(f"q{n}", "yes" if n < 1_100 else f"a{n}") for n in range(1_200)]
    assert found(tmp_path, *many) == {}


def test_plain_text_has_no_answers(tmp_path: Path) -> None:
    assert found(tmp_path, *[("q", "a")] * 9, mapping={"text": "{{ q }}"}) == {}
