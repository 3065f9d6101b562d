"""Rows of a file as every reader hands them on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import polars as pl

from orchestrator.errors import DataError, Fault

# The name of the column with the row's number; a file that has a column of this name is refused.
ROW = "axo_row"


def refuse_own_column(columns: Iterable[str], file: str) -> None:
    """Raise DataError where a file has a column of our name."""
    if ROW in columns:
        what = "the name of this column is kept for row numbers"
        raise DataError([Fault(what, "rename the column", file=file, path=ROW)])


@dataclass(frozen=True)
class Rows:
    """`frame` has the columns of `schema`, of all rows, and `axo_row`, counted from 1, in file order.

    `lines` gives the line in which each of some rows begins; nothing where the format has no lines.
    """

    frame: pl.LazyFrame
    schema: pl.Schema
    count: int
    lines: Callable[[frozenset[int]], dict[int, int]]
