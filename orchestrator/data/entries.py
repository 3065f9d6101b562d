"""Sources of training rows put together: numbered as one, each row as often as its source's weight says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import polars as pl

from orchestrator.data.canonical import aligned
from orchestrator.data.checks import UNKNOWN_ROLES
from orchestrator.data.compiled import check_column
from orchestrator.data.draw import rank, smallest
from orchestrator.data.lengths import REASON
from orchestrator.data.report import Finding, Report, merged
from orchestrator.data.rows import ROW
from orchestrator.data.shapes import Shape
from orchestrator.data.sources import OpenedSource, Source, Together
from orchestrator.data.split import SPLIT, TRAIN
from orchestrator.data.verdicts import Judged
from orchestrator.spec.mapping import Mapping

_ENTRY, _COPIES, _COPY = "entry", "copies", "copy"
NOT_DRAWN = "not_drawn"
# Seeds of a spec are below this, so that no draw of held-out rows is that of a weight.
_SEEDS = 2**32


@dataclass(frozen=True)
class Entry:
    """A source as a spec names it in `field`, the split that it feeds, and the mapping that its rows get.

    `mapping_field` is where that mapping stands in the spec.
    """

    split: str
    field: str
    opened: OpenedSource
    mapping: Mapping
    mapping_field: str
    weight: float = 1.0


def entry_keys(entries: Sequence[Entry]) -> Iterator[list[object]]:
    """What decides the rows of each entry."""
    for entry in entries:
        yield [entry.split, entry.opened.key, entry.mapping.model_dump(mode="json"), entry.weight]


def together(parts: Sequence[Judged], shape: Shape) -> Judged:
    """Judged rows of several sources as those of one, numbered one after the other."""
    if len(parts) == 1:
        return parts[0]
    sources = tuple(_source(part) for part in parts)
    starts = accumulate((source.count for source in sources), initial=0)
    frames = aligned([_without_checks(part.rows) for part in parts], shape)
    columns = _common_columns(frames)
    numbered = [
        frame.select(columns).with_columns(
            (pl.col(ROW) + start).cast(pl.UInt32), pl.lit(number, pl.UInt32).alias(_ENTRY)
        )
        for number, (frame, start) in enumerate(zip(frames, starts, strict=False))
    ]
    report = merged([part.report for part in parts])
    return Judged(Together(sources), pl.concat(numbered), report)


def weighted(judged: Judged, entries: Sequence[Entry], seed: int) -> tuple[Judged, list[Finding]]:
    """The rows of training as often as their source's weight says, and what that comes to.

    Of a weight's fraction, so large a share of the source's rows is drawn by `rank` of their number. The rows
    that no draw takes are left out. A row stands beside its repeats; other rows are as they were.
    """
    if all(entry.weight == 1 for entry in entries):
        return judged, []
    copies, found = pl.lit(1, pl.Int64), []
    for number, entry in enumerate(entries):
        own = pl.col(SPLIT) == TRAIN
        if len(entries) > 1:
            own &= pl.col(_ENTRY) == number
        if entry.weight != 1:
            times, finding = _times(judged.rows.filter(own), entry, seed)
            copies = pl.when(own).then(times).otherwise(copies)
            found.append(finding)
    rows = judged.rows.with_columns(copies.alias(_COPIES))
    undrawn = pl.col(_COPIES) == 0
    rows = rows.with_columns(
        pl.when(~undrawn).then(SPLIT).alias(SPLIT),
        pl.when(undrawn).then(pl.lit(NOT_DRAWN)).otherwise(REASON).alias(REASON),
        pl.int_ranges(0, pl.col(_COPIES)).alias(_COPY),
    )
    rows = rows.explode(_COPY, empty_as_null=True).drop(_COPY, _COPIES)
    return replace(judged, rows=rows), found


def in_words_of(entry: Entry, report: Report) -> Report:
    """The report of an entry's rows, naming its mapping where that stands in the spec."""
    findings = tuple(
        replace(
            finding,
            examples=tuple(
                replace(example, field=at_mapping(entry, example.field)) for example in finding.examples
            ),
        )
        for finding in report.findings
    )
    return replace(report, findings=findings)


def at_mapping(entry: Entry, field: str | None) -> str | None:
    """A field such as `mapping.where` where the entry's mapping stands."""
    inner = field == "mapping" or (field or "").startswith(("mapping.", "mapping["))
    return f"{entry.mapping_field}{(field or '').removeprefix('mapping')}" if inner else field


def _times(rows: pl.LazyFrame, entry: Entry, seed: int) -> tuple[pl.Expr, Finding]:
    """How many times each row of an entry counts."""
    count = rows.select(pl.len()).collect(engine="streaming").item()
    whole, share = divmod(entry.weight, 1)
    drawn = round(share * count) if whole else max(1, round(share * count))
    message = f"rows of {entry.opened.name} by its weight {entry.weight:g}, from {count:,}"
    total = int(whole) * count + drawn
    finding = Finding("weight", "info", total, message)
    if not drawn or not count:
        return pl.lit(int(whole), pl.Int64), finding
    ranked = rank(pl.col(ROW), seed + _SEEDS)
    last = smallest(rows.select(ranked.alias("rank")), drawn)
    return pl.lit(int(whole), pl.Int64) + (ranked <= pl.lit(last, pl.UInt64)), finding


def _source(part: Judged) -> Source:
    assert isinstance(part.source, Source)
    return part.source


def _without_checks(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Rows without what was found in them one by one, which differs from mapping to mapping."""
    names = rows.collect_schema().names()
    checks = {check_column(number) for number in range(len(names))}
    return rows.select(name for name in names if name not in checks and name != UNKNOWN_ROLES)


def _common_columns(frames: Sequence[pl.LazyFrame]) -> list[str]:
    first, *others = (frame.collect_schema().names() for frame in frames)
    return [name for name in first if all(name in other for other in others)]
