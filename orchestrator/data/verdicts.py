"""Judge all rows of a file: counts of verdicts, findings with their first rows, and each row's digest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from orchestrator.data.checks import MESSAGES, UNKNOWN_ROLES, RowCheck
from orchestrator.data.compiled import CompiledMapping, check_column
from orchestrator.data.report import MAX_EXAMPLES, Example, Finding, Report, cut
from orchestrator.data.rows import ROW
from orchestrator.data.same import answer_hash, prompt_hash, whole_hash
from orchestrator.data.sources import Source, Together
from orchestrator.spec.secrets import LIKE_A_SECRET

# Larger row groups are held in memory whole while they are written.
ROW_GROUP_ROWS = 16_384
RED, YELLOW, SUSPECT = "red", "yellow", "suspect"
FAULT = "fault"
PROMPT, ANSWER, WHOLE = "prompt", "answer", "whole"


@dataclass(frozen=True)
class Judged:
    """The rows of one file, mapped and judged.

    `rows` has every row that `where` kept, in its order: `axo_row`, the columns of its shape, `red`,
    `yellow`, `suspect` (a text may hold a secret), `fault` (the first check that found it red), and hashes of
    its `prompt` (all messages but the last), of its `answer` (the text of the last) and of the `whole`
    example, so that later steps compare rows without reading them again. It is a plan over files in scratch,
    to which those steps add their columns: what is held in memory does not grow with the rows.
    """

    source: Source | Together
    rows: pl.LazyFrame
    report: Report


def judge(source: Source, mapping: CompiledMapping, mapped: Path) -> Judged:
    """Map and judge every row, in one pass over the source, into the Arrow file `mapped`, which is written
    and read in half the time of a Parquet file."""
    plan = mapping.apply(source.frame)
    schema = plan.collect_schema()
    plan = plan.with_columns(
        _any(mapping.checks, "red").alias(RED),
        _any(mapping.checks, "yellow").alias(YELLOW),
        _suspect(schema).alias(SUSPECT),
        _fault(mapping.checks).alias(FAULT),
        prompt_hash(schema).alias(PROMPT),
        answer_hash(schema).alias(ANSWER),
    ).with_columns(whole_hash(schema, PROMPT).alias(WHOLE))
    plan.sink_ipc(mapped, compression="lz4", record_batch_size=ROW_GROUP_ROWS)
    rows = pl.scan_ipc(mapped, glob=False)
    checks = [
        replace(check, when=pl.col(check_column(number))) for number, check in enumerate(mapping.checks)
    ]
    found = [*source.notes, *findings(source, rows, checks)]
    report = verdicts(rows, found)
    if mapping.grouping is None and (left_out := source.count - report.rows):
        what = f"rows that `where` leaves out of {source.name}"
        report = report.with_findings([Finding("where", "info", left_out, what)])
    return Judged(source, rows, report)


def verdicts(rows: pl.LazyFrame, found: Iterable[Finding]) -> Report:
    """The report of judged rows."""
    yellow = pl.col(YELLOW) & ~pl.col(RED)
    counts = rows.select(pl.len(), pl.col(RED).sum(), yellow.sum()).collect(engine="streaming")
    total, red, yellow_rows = counts.row(0)
    return Report(total, total - red - yellow_rows, yellow_rows, red, tuple(found))


def findings(source: Source | Together, rows: pl.LazyFrame, checks: Sequence[RowCheck]) -> list[Finding]:
    """What checks find in rows: how often, and in which rows first."""
    if not checks:
        return []
    broken = rows.select(check.when.sum().alias(str(number)) for number, check in enumerate(checks))
    counts = broken.collect(engine="streaming").row(0)
    return [
        _finding(source, rows, check, count) for check, count in zip(checks, counts, strict=True) if count
    ]


def examples(
    source: Source | Together, rows: Sequence[tuple[int, str | None]], field: str | None
) -> tuple[Example, ...]:
    """Rows of a source with the values found there, each with its line."""
    places = source.places(row for row, _ in rows)
    return tuple(
        Example(
            place.file,
            place.row,
            place.line,
            field,
            None if value is None else cut(value),
        )
        for row, value in rows
        for place in (places[row],)
    )


def _any(checks: Sequence[RowCheck], verdict: str) -> pl.Expr:
    columns = [pl.col(check_column(n)) for n, check in enumerate(checks) if check.verdict == verdict]
    return pl.any_horizontal(columns) if columns else pl.lit(False)


def _fault(checks: Sequence[RowCheck]) -> pl.Expr:
    """The code of the first check that is broken and makes a row red."""
    codes = [
        pl.when(check_column(number)).then(pl.lit(check.code))
        for number, check in enumerate(checks)
        if check.verdict == "red"
    ]
    return pl.coalesce(*codes, pl.lit(None, pl.String))


def _suspect(schema: pl.Schema) -> pl.Expr:
    """Whether what may be a secret is in a text."""
    if MESSAGES not in schema:
        return pl.col("text").str.contains(LIKE_A_SECRET).fill_null(False)
    content = pl.element().struct.field("content")
    return pl.col(MESSAGES).list.eval(content.str.contains(LIKE_A_SECRET)).list.any().fill_null(False)


def _finding(source: Source | Together, rows: pl.LazyFrame, check: RowCheck, count: int) -> Finding:
    value = pl.lit(None, pl.String) if check.value is None else check.value
    first = rows.filter(check.when).head(MAX_EXAMPLES).select(ROW, value.alias("value"))
    finding = Finding(
        check.code,
        "error" if check.verdict == "red" else "warn",
        count,
        check.message,
        check.fix,
        examples(source, first.collect(engine="streaming").rows(), check.field),
    )
    return _with_roles(finding, rows) if check.code == "unrecognized_role" else finding


def _with_roles(finding: Finding, rows: pl.LazyFrame) -> Finding:
    """The finding with every role that is not known, and in how many rows it stands."""
    roles = rows.select(pl.col(UNKNOWN_ROLES).explode(empty_as_null=False, keep_nulls=False).alias("role"))
    counted = (
        roles.group_by("role").agg(pl.len().alias("rows")).sort("rows", "role", descending=[True, False])
    )
    found = counted.head(10).collect(engine="streaming").rows()
    listed = ", ".join(f"{cut(role)!r} in {count:,}" for role, count in found if role is not None)
    return replace(finding, message=f"{finding.message}: {listed}") if listed else finding
