"""Which rows are held out: a share drawn by their numbers, or a file of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import polars as pl

from orchestrator.data.draw import rank, smallest
from orchestrator.data.lengths import REASON
from orchestrator.data.report import MAX_EXAMPLES, Example, Finding, counted
from orchestrator.data.rows import ROW
from orchestrator.data.verdicts import PROMPT, WHOLE, Judged, examples
from orchestrator.errors import DataError, Fault

SPLIT, TRAIN, VALIDATION = "split", "train", "validation"
# So many rows are compared with one another at once.
PART_ROWS = 2_000_000
_FIRST, _TIMES, _RANK = "first", "times", "rank"
_KEPT = pl.col(REASON).is_null()


@dataclass(frozen=True)
class Repeats:
    """Rows of one file that are kept and stand there more than once, word for word.

    `groups` has, for each such conversation, its hash (`whole`), the row where it stands `first`, and how
    many `times` it stands there; `rows` is the number of all rows that are kept.
    """

    groups: pl.DataFrame
    rows: int

    @property
    def repeating(self) -> int:
        """How many rows repeat an earlier one."""
        return int(self.groups[_TIMES].sum()) - len(self.groups)


def repeats(judged: Judged) -> Repeats:
    """What repeats among the rows that are kept; compared part by part, so memory does not grow with them."""
    kept = judged.rows.filter(_KEPT)
    rows = kept.select(pl.len()).collect(engine="streaming").item()
    grouped = kept.group_by(WHOLE).agg(pl.col(ROW).min().alias(_FIRST), pl.len().alias(_TIMES))
    return Repeats(in_parts(grouped.filter(pl.col(_TIMES) > 1), WHOLE, rows, PART_ROWS), rows)


def in_parts(groups: pl.LazyFrame, key: str, rows: int, part_rows: int) -> pl.DataFrame:
    """Groups of `rows` by a hash, found for so many rows at once that memory does not grow with them."""
    parts = max(1, -(-rows // part_rows))
    found = (groups.filter(pl.col(key) % parts == part) for part in range(parts))
    return pl.concat([part.collect(engine="streaming") for part in found])


def drawn(judged: Judged, same: Repeats, share: float, seed: int) -> Judged:
    """The rows with a column `split`; those that are left out have none.

    The rows that are kept are ordered by `rank` of their number, a row that repeats an earlier one by that
    one's number, and the first of them, `share` of all but one at least, are held out: the same on every
    machine and in every version. Rows that are the same word for word stay on one side, and one at least
    stays for training.

    Raises DataError where fewer than two rows are left that are not the same.
    """
    different = same.rows - same.repeating
    if different < 2:
        fix = "give more rows, or leave validation out"
        what = f"{counted(different, 'row')} cannot be split into training and validation"
        raise DataError([Fault(what, fix, path="dataset.validation")])
    rows = _with_first(judged.rows, same).with_columns(rank(pl.col(_FIRST), seed).alias(_RANK))
    ranks = rows.filter(_KEPT).select(_RANK)
    last = smallest(ranks, max(1, round(share * same.rows)))
    largest = ranks.max().collect(engine="streaming").item()
    held_out = pl.col(_RANK) <= pl.lit(min(last, largest - 1), pl.UInt64)
    split = pl.when(_KEPT & held_out).then(pl.lit(VALIDATION)).when(_KEPT).then(pl.lit(TRAIN))
    return replace(judged, rows=rows.with_columns(split.alias(SPLIT)))


def _with_first(rows: pl.LazyFrame, same: Repeats) -> pl.LazyFrame:
    """The rows with the number of the first that is the same."""
    if same.groups.is_empty():
        return rows.with_columns(pl.col(ROW).alias(_FIRST))
    first = same.groups.lazy().select(WHOLE, _FIRST)
    joined = rows.join(first, on=WHOLE, how="left", maintain_order="left")
    return joined.with_columns(pl.coalesce(_FIRST, ROW).alias(_FIRST))


def whole(judged: Judged, split: str) -> Judged:
    """The rows with every one that is kept in one split."""
    return replace(judged, rows=judged.rows.with_columns(pl.when(_KEPT).then(pl.lit(split)).alias(SPLIT)))


def duplicates(judged: Judged, same: Repeats) -> list[Finding]:
    """Rows of one file that repeat an earlier one word for word."""
    if not same.repeating:
        return []
    again = judged.rows.filter(_KEPT).join(same.groups.lazy(), on=WHOLE).filter(pl.col(ROW) > pl.col(_FIRST))
    fix = "remove them, unless they are meant to count more than once"
    what = "rows repeat an earlier row word for word"
    return [Finding("duplicate_rows", "warn", same.repeating, what, fix, _first(judged, again))]


def overlaps(train: Judged, validation: Judged) -> list[Finding]:
    """Held-out rows that training sees too, whole or by their prompt: scores on them say too much.

    Held in memory are the hashes of held-out rows that training sees.
    """
    held_out = validation.rows.filter(_KEPT)
    same = pl.col(WHOLE).is_in(_seen(train, held_out, WHOLE).implode())
    asked = pl.col(PROMPT).is_in(_seen(train, held_out, PROMPT).implode()) & ~same
    fix = "remove the doubles: a score on rows that were trained on says nothing"
    found = []
    for code, rows, message in (
        ("validation_rows_in_training", same, "held-out rows are among the training rows too"),
        ("validation_prompts_in_training", asked, "held-out rows have the prompt of a training row"),
    ):
        count = held_out.filter(rows).select(pl.len()).collect(engine="streaming").item()
        if count:
            first = _first(validation, held_out.filter(rows))
            found.append(Finding(code, "warn", count, message, fix, first))
    return found


def _seen(train: Judged, held_out: pl.LazyFrame, hashes: str) -> pl.Series:
    """The hashes of held-out rows that rows of training have too."""
    known = train.rows.filter(_KEPT).select(hashes).drop_nulls()
    both = known.join(held_out.select(hashes), on=hashes, how="semi").unique()
    return both.collect(engine="streaming").to_series()


def _first(judged: Judged, rows: pl.LazyFrame) -> tuple[Example, ...]:
    """The first rows, by their number."""
    first = rows.select(pl.col(ROW).bottom_k(MAX_EXAMPLES).sort()).collect(engine="streaming").to_series()
    return examples(judged.source, [(row, None) for row in first], None)
