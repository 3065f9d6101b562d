"""A draw that is the same on every machine and in every version: row numbers ranked by a mixer."""

from __future__ import annotations

import polars as pl

# SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): its increment, then
# the shift and factor of each round, then the last shift. One number comes out for each that goes in.
_STEP = 0x9E3779B97F4A7C15
_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST_SHIFT = 31
_BUCKET = 2**48


def rank(row: pl.Expr, seed: int) -> pl.Expr:
    """The `row`-th number (64 bits) of SplitMix64 begun at `seed`: no two rows of one draw are alike."""
    mixed = row.cast(pl.UInt64) * _number(_STEP) + _number(seed % 2**64)
    for shift, factor in _ROUNDS:
        mixed = _shifted(mixed, shift) * _number(factor)
    return _shifted(mixed, _LAST_SHIFT)


def smallest(ranks: pl.LazyFrame, count: int) -> int:
    """The `count`-th smallest number, from 1, in a frame's only column of at least that many.

    Looks twice, first at the leading 16 bits alone, so that one number in 65,536 is held in memory.
    """
    (number,) = ranks.collect_schema().names()
    bucket = pl.col(number) // _number(_BUCKET)
    counts = ranks.group_by(bucket.alias("bucket")).agg(pl.len().alias("numbers"))
    totals = counts.sort("bucket").with_columns(up_to=pl.col("numbers").cum_sum())
    reached = totals.filter(pl.col("up_to") >= count).head(1).collect(engine="streaming")
    chosen, numbers, up_to = reached.row(0)
    within = ranks.filter(bucket == _number(chosen)).sort(number).collect(engine="streaming")
    return int(within.item(count - 1 - (up_to - numbers), 0))


def _number(value: int) -> pl.Expr:
    return pl.lit(value, pl.UInt64)


def _shifted(number: pl.Expr, bits: int) -> pl.Expr:
    return number ^ (number // _number(2**bits))
