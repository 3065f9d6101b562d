"""Rows of a file as every reader hands them on."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from orchestrator.data.report import Finding
from orchestrator.errors import DataError, Fault

# The name of the column with the row's number; a file that has a column of this name is refused.
ROW = "axo_row"


def refuse_own_column(columns: Iterable[str], file: str) -> None:
    """Raise DataError where a file has a column of our name."""
    if ROW in columns:
        what = "the name of this column is kept for row numbers"
        raise DataError([Fault(what, "rename the column", file=file, path=ROW)])


def fresh(scratch: Path) -> Path:
    """A new empty file in scratch space; raises OSError where that cannot be written."""
    scratch.mkdir(parents=True, exist_ok=True)
    handle, path = tempfile.mkstemp(dir=scratch, prefix="source-")
    os.close(handle)
    return Path(path)


@dataclass(frozen=True)
class Rows:
    """`frame` has the columns of `schema`, of all rows, and `axo_row`, counted from 1, in file order.

    `lines` gives the line in which each of some rows begins; nothing where the format has no lines.
    `plain_numbers` says that every number would be written as it stood in the file, as text just so.
    `notes` are what a reader has to say of the file, though it could read it.
    """

    frame: pl.LazyFrame
    schema: pl.Schema
    count: int
    lines: Callable[[frozenset[int]], dict[int, int]]
    plain_numbers: bool = False
    notes: tuple[Finding, ...] = ()
