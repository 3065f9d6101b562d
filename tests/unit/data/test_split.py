"""Draws and repeats are exact in however many parts they are found; figures are those of a sorted list."""

from __future__ import annotations

import random
from collections import Counter
from math import ceil
from statistics import median

import polars as pl
import pytest

from orchestrator.data import forecast as forecasts
from orchestrator.data import split
from orchestrator.data.draw import rank, smallest
from orchestrator.data.forecast import forecast
from orchestrator.data.report import Report
from orchestrator.data.rows import Rows
from orchestrator.data.sources import OpenedSource, Source
from orchestrator.data.sources.reconcile import FileRows
from orchestrator.data.tally import tally
from orchestrator.data.verdicts import Judged
from orchestrator.spec.training import Training


def judged(whole: list[int], left_out: frozenset[int] = frozenset()) -> Judged:
    """Rows with these hashes, counted from 1; those of `left_out` are not kept."""
    numbers = range(1, len(whole) + 1)
    frame = pl.DataFrame(
        {
            "axo_row": pl.Series(numbers, dtype=pl.UInt32),
            "whole": pl.Series(whole, dtype=pl.UInt64),
            "reason": ["red" if number in left_out else None for number in numbers],
        },
        schema_overrides={"reason": pl.String},
    ).lazy()
    rows = Rows(frame, frame.collect_schema(), len(whole), lambda _: {})
    source = Source(OpenedSource("rows", ()), (FileRows("rows", rows),), frame, rows.schema)
    return Judged(source, frame, Report(len(whole), 0, 0, 0))


@pytest.mark.parametrize("count", [1, 2, 1000, 4999, 5000])
def test_the_smallest_numbers_are_those_of_a_sorted_list(count: int) -> None:
    numbers = [random.Random(count).getrandbits(64) for _ in range(2500)] * 2
    frame = pl.DataFrame({"n": pl.Series(numbers, dtype=pl.UInt64)}).lazy()
    assert smallest(frame, count) == sorted(numbers)[count - 1]


def test_ranks_differ_by_row_and_by_seed() -> None:
    rows = pl.DataFrame({"r": pl.Series(range(5000), dtype=pl.UInt32)})
    ranks = rows.select(rank(pl.col("r"), 1).alias("one"), rank(pl.col("r"), -1).alias("other"))
    assert ranks["one"].n_unique() == ranks["other"].n_unique() == 5000
    assert ranks["one"].arg_sort().to_list() != ranks["other"].arg_sort().to_list()


@pytest.mark.parametrize("part_rows", [1, 7, 1000])
def test_repeats_and_draw_do_not_depend_on_the_parts(monkeypatch: pytest.MonkeyPatch, part_rows: int) -> None:
    chance = random.Random(3)
    whole = [chance.getrandbits(64) for _ in range(60)]
    whole = [chance.choice(whole) for _ in range(200)]
    rows = judged(whole, frozenset(range(1, 30)))
    kept = {row: hashed for row, hashed in enumerate(whole, 1) if row >= 30}
    monkeypatch.setattr(split, "PART_ROWS", part_rows)
    same = split.repeats(rows)
    times = Counter(kept.values())
    assert (same.rows, same.repeating) == (171, 171 - len(times))
    assert dict(same.groups.select("whole", "times").iter_rows()) == {
        hashed: count for hashed, count in times.items() if count > 1
    }
    (finding,) = split.duplicates(rows, same)
    again = [row for row, hashed in kept.items() if hashed in [kept[one] for one in range(30, row)]]
    assert (finding.count, [example.row for example in finding.examples]) == (len(again), again[:5])
    drawn = split.drawn(rows, same, 0.25, 42).rows.collect()
    assert drawn["axo_row"].to_list() == list(range(1, 201))
    by_whole = drawn.drop_nulls("split").group_by("whole").agg(pl.col("split").n_unique())
    assert by_whole["split"].max() == 1
    assert drawn["split"].null_count() == 29
    held_out = drawn.filter(pl.col("split") == "validation").height
    assert 0.25 * 171 - 1 <= held_out <= 0.25 * 171 + max(times.values())
    assert drawn["split"].to_list() == _drawn_in_one_part(rows)


def _drawn_in_one_part(rows: Judged) -> list[str | None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(split, "PART_ROWS", 10_000)
        return split.drawn(rows, split.repeats(rows), 0.25, 42).rows.collect()["split"].to_list()


@pytest.mark.parametrize("count", [1, 2, 19, 20, 1001])
def test_figures_are_those_of_a_sorted_list(count: int) -> None:
    chance = random.Random(count)
    lengths = [chance.randint(1, 60) for _ in range(count)]
    cut = [chance.choice([0, 0, 5]) for _ in range(count)]
    rows = [("train", None, length, length, gone) for length, gone in zip(lengths, cut, strict=True)]
    rows += [(None, "red", None, None, None)] * 2 + [(None, "too_long", 99, 9, 0)]
    columns = {
        "split": pl.String,
        "reason": pl.String,
        "tokens": pl.Int64,
        "trained": pl.Int64,
        "cut": pl.Int64,
    }
    found = tally([pl.DataFrame(rows, schema=columns, orient="row").lazy()])
    ordered = sorted(lengths)
    assert found.figures("train") == {
        "rows": count,
        "tokens": sum(lengths),
        "trained_tokens": sum(lengths),
        "truncated": sum(one > 0 for one in cut),
        "lengths": {
            "shortest": ordered[0],
            "median": median(ordered),
            "p95": ordered[ceil(0.95 * count) - 1],
            "longest": ordered[-1],
        },
    }
    assert found.dropped == {"red": 2, "too_long": 1}
    assert found.lengths("train").at(range(count)) == ordered


def test_a_forecast_from_some_rows_is_near_that_from_all(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    lengths = [min(512, int(chance.lognormvariate(4.5, 0.8)) + 2) for _ in range(30_000)]
    counts = pl.DataFrame({"tokens": lengths, "trained": lengths, "cut": 0, "split": "train", "reason": None})
    found = tally([counts.lazy()]).lengths("train")
    training = Training(sequence_len=512, packing=True, epochs=2, batch_size=8, micro_batch_size=2)
    some = forecast(found, training)
    monkeypatch.setattr(forecasts, "PACKED_ROWS", 10**9)
    every = forecast(found, training)
    assert some.steps == pytest.approx(every.steps, rel=0.01)
    assert some.tokens == every.tokens == 2 * sum(lengths)
