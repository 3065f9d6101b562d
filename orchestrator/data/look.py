"""Look at a source for the first time: how many rows of which columns, some of them, what they are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from orchestrator.data.recognise import Recognition, recognise
from orchestrator.data.recognise_columns import Columns, inside
from orchestrator.data.rows import ROW
from orchestrator.data.sources import Source, open_source, read_source
from orchestrator.data.template_values import instance
from orchestrator.errors import DataError, Fault
from orchestrator.spec.models import SourceEntry

SAMPLE = 200


@dataclass(frozen=True)
class Look:
    """A source at first sight; `longest` is the longest row of the sample, in characters.

    `found` are its rows, to be read while looking at it lasts, with room for files in `scratch`.
    """

    source: str
    rows: int
    columns: Sequence[str]
    longest: int
    recognition: Recognition
    sample: Sequence[Mapping[str, Any]]
    found: Source
    scratch: Path

    @property
    def answers(self) -> Sequence[str]:
        """What may be named as the answer: columns, and fields inside of them."""
        fields = inside(Columns(self.found.schema, ())).schema
        return [*self.columns, *(field for field in fields if field not in self.columns)]

    def with_answer(self, column: str) -> Look:
        """The same, where somebody knows which column, or field inside one, has the answers."""
        return replace(self, recognition=recognise(self.found.schema, self.sample, column))


@contextmanager
def looking(entry: str | SourceEntry, base: Path) -> Iterator[Look]:
    """Read a source and recognise what it holds; `base` is where relative paths start.

    Raises DataError where it cannot be read, or its rows lie deeper.
    """
    source = entry if isinstance(entry, str) else entry.source
    with tempfile.TemporaryDirectory(prefix="axo-look-") as scratch:
        found = read_source(open_source(entry, base), Path(scratch))
        _refuse_wrapped(found)
        sample = found.frame.head(SAMPLE).drop(ROW).collect().to_dicts()
        yield Look(
            source=source,
            rows=found.count,
            columns=list(found.schema),
            longest=max((sum(map(_characters, row.values())) for row in sample), default=0),
            recognition=recognise(found.schema, sample),
            sample=sample,
            found=found,
            scratch=Path(scratch),
        )


def look(source: str, base: Path) -> Recognition:
    """What a source holds. Raises as `looking` does."""
    with looking(source, base) as seen:
        return seen.recognition


def _refuse_wrapped(source: Source) -> None:
    """Refuse JSON that is one object with the rows inside: in its only list of objects that are no messages,
    or as its own values."""
    if source.count != 1:
        return
    lists, values = list(_lists(source.schema)), list(source.schema.values())
    alike = len(values) > 1 and isinstance(values[0], pl.Struct) and len(set(map(_names, values))) == 1
    if len(lists) != 1 and not alike:
        return
    if recognise(source.schema, source.frame.head(1).drop(ROW).collect().to_dicts()).form != "unknown":
        return
    if alike:
        what, path, items = "the file is one object, and its rows are the values in it", None, ".[]"
    else:
        what, path = "the file is one object, and its rows lie in a list inside", lists[0]
        items = f".{path}[]"
    fix = f"write them as the whole file: jq -c '{items}' {source.name} > rows.jsonl"
    raise DataError([Fault(what, fix, file=source.name, path=path)])


def _lists(fields: Mapping[str, pl.DataType], above: str = "") -> Iterator[str]:
    """The paths of lists of objects, but not of those inside such lists."""
    for name, dtype in fields.items():
        path = f"{above}{name}"
        if isinstance(dtype, pl.Struct):
            yield from _lists({field.name: instance(field.dtype) for field in dtype.fields}, f"{path}.")
        elif isinstance(getattr(dtype, "inner", None), pl.Struct):
            yield path


def _names(dtype: pl.DataType) -> frozenset[str]:
    return frozenset(field.name for field in dtype.fields) if isinstance(dtype, pl.Struct) else frozenset()


def _characters(value: Any) -> int:
    """Characters of all texts in a value."""
    if isinstance(value, Mapping):
        return sum(map(_characters, value.values()))
    if isinstance(value, list):
        return sum(map(_characters, value))
    return len(str(value)) if value is not None else 0
