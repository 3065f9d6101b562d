"""What a message says may be a list of typed parts: texts are joined, anything else is told with its row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from orchestrator.data.checks import MESSAGES
from orchestrator.data.mapping import compile_mapping
from orchestrator.data.sources import open_source, read_source
from orchestrator.data.verdicts import Judged, judge
from orchestrator.errors import DataError
from orchestrator.spec.mapping import Mapping

Row = dict[str, Any]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def texts(*said: str, kind: str = "text") -> list[Row]:
    return [{"type": kind, "text": text} for text in said]


def talk(*said: object) -> Row:
    roles = ("user", "assistant", "user", "assistant")
    return {"m": [{"role": role, "content": content} for role, content in zip(roles, said, strict=False)]}


def as_lines(rows: list[Row], folder: Path) -> str:
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return "rows.jsonl"


def as_spaced_lines(rows: list[Row], folder: Path) -> str:
    (folder / "rows.jsonl").write_text("".join(f"\n{json.dumps(row)}\r\n" for row in rows))
    return "rows.jsonl"


def as_array(rows: list[Row], folder: Path) -> str:
    (folder / "rows.json").write_text(json.dumps(rows, indent=1))
    return "rows.json"


def as_json_text(rows: list[Row], folder: Path) -> str:
    return as_lines([{"m": json.dumps(row["m"])} for row in rows], folder)


def as_parquet(rows: list[Row], folder: Path) -> str:
    pl.DataFrame(rows).write_parquet(folder / "rows.parquet")
    return "rows.parquet"


Writer = Callable[[list[Row], Path], str]
JSON: tuple[Writer, ...] = (as_lines, as_spaced_lines, as_array, as_json_text)


def judged(folder: Path, name: str) -> Judged:
    source = read_source(open_source(name, folder), folder / "scratch")
    mapping = Mapping.model_validate({"conversation": {"column": "m"}})
    return judge(source, compile_mapping(mapping, source.schema), folder / "mapped.arrow")


def said(found: Judged) -> list[list[str]]:
    column = found.rows.collect().get_column(MESSAGES).to_list()
    return [[message["content"] for message in row] for row in column]


@pytest.mark.parametrize("write", [*JSON, as_parquet])
def test_texts_of_parts_are_joined_by_a_line_end(tmp_path: Path, write: Writer) -> None:
    rows = [talk(texts("a", "b"), texts("c")), talk(texts("d", kind="input_text"), texts("e", "", "f"))]
    found = judged(tmp_path, write(rows, tmp_path))
    assert said(found) == [["a\nb", "c"], ["d", "e\n\nf"]]
    assert (found.report.green, found.report.findings) == (2, ())


@pytest.mark.parametrize("write", JSON)
def test_texts_and_parts_in_one_file(tmp_path: Path, write: Writer) -> None:
    """Within a conversation and between rows; parts that are bare texts too; fields of parts may differ."""
    rows = [
        talk("a\u2028\n", texts("é")),
        talk([*texts("b"), "c"], "d"),
        talk(["e", "f"], None),
        talk([{**IMAGE, "image_url": "x"}], "g"),
        talk([*texts("h"), IMAGE], '[{"type": "text", "text": "kept as it is"}]'),
    ]
    found = judged(tmp_path, write(rows, tmp_path))
    assert said(found)[:3] == [["a\u2028\n", "é"], ["b\nc", "d"], ["e\nf", ""]]
    assert said(found)[4][1] == '[{"type": "text", "text": "kept as it is"}]'
    assert found.report.red == 3


@pytest.mark.parametrize("write", [*JSON, as_parquet])
def test_other_parts_are_red_and_named(tmp_path: Path, write: Writer) -> None:
    rows = [talk(texts("a"), texts("b"))] * 3
    rows += [talk([*texts("c"), IMAGE, {**IMAGE, "type": "input_audio"}], texts("d"))]
    found = judged(tmp_path, write(rows, tmp_path))
    (finding,) = [one for one in found.report.findings if one.code == "content_parts"]
    (example,) = finding.examples
    assert (found.report.red, finding.severity, example.row) == (1, "error", 4)
    assert (example.field, example.value) == ("m[].content", "image_url, input_audio")


def test_a_row_keeps_its_line_when_texts_become_parts(tmp_path: Path) -> None:
    rows = [talk("a", texts("b")), talk(texts("c"), [IMAGE])]
    (finding,) = [
        one
        for one in judged(tmp_path, as_spaced_lines(rows, tmp_path)).report.findings
        if one.code == "content_parts"
    ]
    assert [(example.row, example.line) for example in finding.examples] == [(2, 4)]


@pytest.mark.parametrize(
    ("rows", "path"),
    [
        ([talk("a", 5), talk(texts("b"), "c")], "m[].content"),
        ([talk("a", "\ud83d"), talk(texts("b"), "c")], "m[].content"),
        ([{"docs": [{"content": "a"}]}, {"docs": [{"content": ["b"]}]}], "docs[].content"),
        (
            [{"docs": [{"content": [{"page": "1"}]}]}, {"docs": [{"content": [{"page": 2}]}]}],
            "docs[].content[].page",
        ),
    ],
)
def test_what_is_no_text_beside_parts_stays_a_fault(tmp_path: Path, rows: list[Row], path: str) -> None:
    with pytest.raises(DataError) as caught:
        judged(tmp_path, as_lines(rows, tmp_path))
    assert path in [fault.path for fault in caught.value.faults]
