"""The rows of an analysis as JSON lines: what preparing would train on, in OpenAI's chat form, and what not.

An example is `{"messages": [..], "tools": [..]}`, each message with what it has of `weight`, `tool_calls`,
`tool_call_id`, `name` and `reasoning_content`, or `{"text": ..}` for plain text. Read again with
`conversation: {column: messages}` and `tools: tools`, or `text: "{{ text }}"`, it is the same example. So
tools are their JSON text where a list of them would not come back as it was from one row or another.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl
import polars.selectors as cs

from orchestrator.data.analysis import Analysis
from orchestrator.data.as_columns import Columns
from orchestrator.data.conversation import without_nulls
from orchestrator.data.lengths import REASON, REFUSAL
from orchestrator.data.rows import ROW
from orchestrator.data.shapes import EXAMPLE_COLUMNS
from orchestrator.data.split import TRAIN, VALIDATION
from orchestrator.data.tool_checks import TOOLS
from orchestrator.data.verdicts import FAULT, Judged

BATCH = 1024


@dataclass(frozen=True)
class Files:
    """Where rows go: those of training, those held out, and, where that is wanted, those left out."""

    train: Path
    validation: Path | None
    left_out: Path | None

    @classmethod
    def beside(cls, file: Path, *, split: bool, left_out: bool) -> Files:
        """`file` alone or, where rows are held out, `<name>-train` and `<name>-validation` beside it."""
        return cls(
            _named(file, TRAIN) if split else file,
            _named(file, VALIDATION) if split else None,
            _named(file, "left-out") if left_out else None,
        )

    @property
    def all(self) -> tuple[Path, ...]:
        return tuple(file for file in (self.train, self.validation, self.left_out) if file)


@dataclass(frozen=True)
class Written:
    """The rows in each file, those that were left out, the columns of an example, and whether its tools are
    JSON text."""

    rows: Mapping[Path, int]
    left_out: int
    columns: tuple[str, ...]
    tools_as_text: bool


def write_files(analysis: Analysis, files: Files) -> Written:
    """Write every file whole, or none."""
    folder = files.train.parent
    folder.mkdir(parents=True, exist_ok=True)
    as_text = not all(_tools_come_back(analysis.rows(split)) for split in analysis.splits)
    with tempfile.TemporaryDirectory(prefix=".axo-check-", dir=folder) as scratch:
        filled = {
            file: _write(rows, Path(scratch) / file.name, as_text) for file, rows in _rows(analysis, files)
        }
        for file in filled:
            (Path(scratch) / file.name).replace(file)
    columns = tuple(analysis.rows(TRAIN).collect_schema())
    return Written(filled, sum(analysis.tally.dropped.values()), columns, as_text)


def _tools_come_back(rows: pl.LazyFrame) -> bool:
    if TOOLS not in rows.collect_schema():
        return True
    columns = Columns()
    batches = rows.select(TOOLS).collect_batches(chunk_size=BATCH, maintain_order=True)
    texts = (text for batch in batches for text in batch[TOOLS].drop_nulls().unique(maintain_order=True))
    return all(columns.hold(json.loads(text)) for text in texts)


def _rows(analysis: Analysis, files: Files) -> Iterator[tuple[Path, Iterator[dict[str, Any]]]]:
    yield files.train, _kept(analysis, TRAIN)
    if files.validation:
        yield files.validation, _kept(analysis, VALIDATION)
    if files.left_out:
        yield files.left_out, chain.from_iterable(map(_left_out, analysis.parts))


def _write(rows: Iterator[dict[str, Any]], file: Path, tools_as_text: bool) -> int:
    count = 0
    with file.open("w", encoding="utf-8", newline="\n") as out:
        for row in rows:
            if row.get(TOOLS) and not tools_as_text:
                row[TOOLS] = json.loads(row[TOOLS])
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def _kept(analysis: Analysis, split: str) -> Iterator[dict[str, Any]]:
    for batch in analysis.rows(split).collect_batches(chunk_size=BATCH, maintain_order=True):
        yield from map(without_nulls, batch.iter_rows(named=True))


def _left_out(part: Judged) -> Iterator[dict[str, Any]]:
    """Each row that is not trained on: where it stands, why, and what the mapping made of it.

    `fault` is the check that found it red, or what the chat template says of it.
    """
    fault = pl.coalesce(FAULT, REFUSAL).alias(FAULT)
    example = cs.by_name(EXAMPLE_COLUMNS, require_all=False)
    rows = part.rows.filter(pl.col(REASON).is_not_null()).select(ROW, REASON, fault, example)
    for batch in rows.collect_batches(chunk_size=BATCH, maintain_order=True):
        places = part.source.places(batch[ROW])
        for row in batch.iter_rows(named=True):
            place = places[row.pop(ROW)]
            yield without_nulls({"file": place.file, "row": place.row, "line": place.line, **row})


def _named(file: Path, what: str) -> Path:
    return file.with_stem(f"{file.stem}-{what}")
