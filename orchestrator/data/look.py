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
from orchestrator.data.rows import ROW
from orchestrator.data.sources import Source, open_source, read_source
from orchestrator.errors import DataError, Fault

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

    def with_answer(self, column: str) -> Look:
        """The same, where somebody knows which column has the answers."""
        return replace(self, recognition=recognise(self.found.schema, self.sample, column))


@contextmanager
def looking(source: str, base: Path) -> Iterator[Look]:
    """Read a source and recognise what it holds; `base` is where relative paths start.

    Raises DataError where it cannot be read, or its rows lie deeper.
    """
    with tempfile.TemporaryDirectory(prefix="axo-look-") as scratch:
        found = read_source(open_source(source, base), Path(scratch))
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
    """Refuse JSON of one object whose only list holds objects that are no messages: the rows, most likely."""
    inner = {name: getattr(dtype, "inner", None) for name, dtype in source.schema.items()}
    lists = [name for name, dtype in inner.items() if isinstance(dtype, pl.Struct)]
    if source.count != 1 or len(lists) != 1:
        return
    if recognise(source.schema, source.frame.head(1).drop(ROW).collect().to_dicts()).form == "unknown":
        what, fix = (
            "the file is one object, and its rows lie in a list inside",
            "write that list as the whole file",
        )
        raise DataError([Fault(what, fix, file=source.name, path=lists[0])])


def _characters(value: Any) -> int:
    """Characters of all texts in a value."""
    if isinstance(value, Mapping):
        return sum(map(_characters, value.values()))
    if isinstance(value, list):
        return sum(map(_characters, value))
    return len(str(value)) if value is not None else 0
