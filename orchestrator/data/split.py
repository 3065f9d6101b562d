"""Which rows are held out: a share drawn by their numbers, or a file of their own."""

from __future__ import annotations

import heapq
from hashlib import sha256

import polars as pl

from orchestrator.data.lengths import REASON
from orchestrator.data.report import Example, Finding, counted
from orchestrator.data.rows import ROW
from orchestrator.data.verdicts import PROMPT, WHOLE, Judged, examples
from orchestrator.errors import DataError, Fault

SPLIT, TRAIN, VALIDATION = "split", "train", "validation"


def drawn(index: pl.DataFrame, share: float, seed: int) -> pl.DataFrame:
    """The index with a column `split`; rows that are left out have none.

    The rows that are kept are ordered by the SHA-256 of `<seed>/<row number>`, a row that repeats an earlier
    one by that one's number, and the first of them, `share` of all but one at least, are held out: the same
    on every machine and in every version. Rows that are the same word for word stay on one side.

    Raises DataError where fewer than two rows are left.
    """
    kept = index.filter(pl.col(REASON).is_null()).select(ROW, first=pl.col(ROW).first().over(WHOLE))
    firsts = kept.get_column("first").to_list()
    if kept.n_unique("first") < 2:
        fix = "give more rows, or leave validation out"
        what = f"{counted(kept.n_unique('first'), 'row')} cannot be split into training and validation"
        raise DataError([Fault(what, fix, path="dataset.validation")])
    count = max(1, round(share * len(firsts)))
    held_out = _first_groups(
        heapq.nsmallest(count, firsts, key=lambda row: _rank(row, seed)), len(set(firsts))
    )
    rows = kept.filter(pl.col("first").is_in(pl.Series(held_out, dtype=pl.UInt32).implode()))
    chosen = pl.col(ROW).is_in(rows.get_column(ROW).implode())
    split = pl.when(pl.col(REASON).is_not_null()).then(None).when(chosen).then(pl.lit(VALIDATION))
    return index.with_columns(split.otherwise(pl.lit(TRAIN)).alias(SPLIT))


def _rank(row: int, seed: int) -> bytes:
    return sha256(f"{seed}/{row}".encode()).digest()


def _first_groups(ranked: list[int], groups: int) -> list[int]:
    """The groups of ranked rows, in order; one at least stays for training."""
    return list(dict.fromkeys(ranked))[: groups - 1]


def whole(index: pl.DataFrame, split: str) -> pl.DataFrame:
    """The index with every row that is kept in one split."""
    return index.with_columns(pl.when(pl.col(REASON).is_null()).then(pl.lit(split)).alias(SPLIT))


def duplicates(judged: Judged) -> list[Finding]:
    """Rows of one file that repeat an earlier one word for word."""
    kept = judged.index.filter(pl.col(REASON).is_null())
    again = kept.filter(~pl.col(WHOLE).is_first_distinct())
    if again.is_empty():
        return []
    fix = "remove them, unless they are meant to count more than once"
    found = examples(judged.source, [(row, None) for row in again[ROW].head(5)], None)
    return [
        Finding("duplicate_rows", "warn", len(again), "rows repeat an earlier row word for word", fix, found)
    ]


def overlaps(train: Judged, validation: Judged) -> list[Finding]:
    """Held-out rows that training sees too, whole or by their prompt: scores on them say too much."""
    seen = train.index.filter(pl.col(SPLIT) == TRAIN)
    held_out = validation.index.filter(pl.col(SPLIT) == VALIDATION)
    same = held_out.filter(pl.col(WHOLE).is_in(seen[WHOLE].implode()))
    asked = held_out.filter(
        pl.col(PROMPT).is_in(seen[PROMPT].implode()) & ~pl.col(WHOLE).is_in(seen[WHOLE].implode())
    )
    fix = "remove the doubles: a score on rows that were trained on says nothing"
    return [
        Finding(code, "warn", len(rows), message, fix, _first(validation, rows))
        for code, rows, message in (
            ("validation_rows_in_training", same, "held-out rows are among the training rows too"),
            ("validation_prompts_in_training", asked, "held-out rows have the prompt of a training row"),
        )
        if len(rows)
    ]


def _first(judged: Judged, rows: pl.DataFrame) -> tuple[Example, ...]:
    return examples(judged.source, [(row, None) for row in rows[ROW].head(5)], None)
