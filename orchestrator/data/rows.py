"""Rows of a file as every reader hands them on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

# The name of the column with the row's number; a file that has a column of this name is refused.
ROW = "axo_row"


@dataclass(frozen=True)
class Rows:
    """`frame` has the columns of `schema`, of all rows, and `axo_row`, counted from 1, in file order.

    `lines` gives the line in which each of some rows begins; nothing where the format has no lines.
    """

    frame: pl.LazyFrame
    schema: pl.Schema
    count: int
    lines: Callable[[frozenset[int]], dict[int, int]]
