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
from orchestrator.data.sources import Source
from orchestrator.data.tool_checks import TOOLS

# Larger row groups are held in memory whole while they are written.
ROW_GROUP_ROWS = 16_384
RED, YELLOW, WHOLE, PROMPT = "red", "yellow", "whole", "prompt"


@dataclass(frozen=True)
class Judged:
    """The rows of one file, mapped and judged.

    `mapped` is a Parquet file with `axo_row` and `messages` of every row that `where` kept. `index` has,
    for the same rows in the same order, `axo_row`, `red`, `yellow`, and hashes of the whole conversation and
    of its prompt (all but the last message); it alone is held in memory, some 40 bytes a row.
    """

    source: Source
    mapped: Path
    index: pl.DataFrame
    report: Report


def judge(source: Source, mapping: CompiledMapping, mapped: Path) -> Judged:
    """Map every row into the file `mapped` and judge it there."""
    plan = mapping.apply(source.rows.frame)
    plan.sink_parquet(mapped, compression="zstd", compression_level=1, row_group_size=ROW_GROUP_ROWS)
    rows = pl.scan_parquet(mapped, glob=False)
    index = _index(rows, mapping.checks)
    return Judged(source, mapped, index, verdicts(index, _findings(rows, mapping.checks, source)))


def examples(
    source: Source, rows: Sequence[tuple[int, str | None]], field: str | None
) -> tuple[Example, ...]:
    """Rows of a source with the values found there, each with its line."""
    lines = source.rows.lines(frozenset(row for row, _ in rows))
    return tuple(
        Example(source.name, row, lines.get(row), field, None if value is None else cut(value))
        for row, value in rows
    )


def verdicts(index: pl.DataFrame, findings: Iterable[Finding]) -> Report:
    """The report of rows as their index has them."""
    red = int(index[RED].sum())
    yellow = int((index[YELLOW] & ~index[RED]).sum())
    return Report(len(index), len(index) - red - yellow, yellow, red, tuple(findings))


def _findings(rows: pl.LazyFrame, checks: Sequence[RowCheck], source: Source) -> list[Finding]:
    counts = [pl.col(check_column(number)).sum().alias(str(number)) for number in range(len(checks))]
    found = rows.select(pl.len().alias("rows"), *counts).collect(engine="streaming").row(0, named=True)
    findings = [
        _finding(rows, number, check, found[str(number)], source)
        for number, check in enumerate(checks)
        if found[str(number)]
    ]
    if left_out := source.rows.count - found["rows"]:
        findings.append(Finding("where", "info", left_out, f"rows that `where` leaves out of {source.name}"))
    return findings


def _any(checks: Sequence[RowCheck], verdict: str) -> pl.Expr:
    columns = [pl.col(check_column(n)) for n, check in enumerate(checks) if check.verdict == verdict]
    return pl.any_horizontal(columns) if columns else pl.lit(False)


def _finding(rows: pl.LazyFrame, number: int, check: RowCheck, count: int, source: Source) -> Finding:
    value = pl.lit(None, pl.String) if check.value is None else check.value
    first = rows.filter(pl.col(check_column(number))).head(MAX_EXAMPLES).select(ROW, value.alias("value"))
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


def _hash(messages: pl.Expr, rows: pl.LazyFrame) -> pl.Expr:
    """Of messages, and of the tools on offer where rows have some."""
    return pl.struct(messages, TOOLS).hash() if TOOLS in rows.collect_schema() else messages.hash()


def _index(rows: pl.LazyFrame, checks: Sequence[RowCheck]) -> pl.DataFrame:
    messages = pl.col(MESSAGES)
    prompt = messages.list.slice(0, (messages.list.len().cast(pl.Int64) - 1).clip(0))
    asked = messages.list.len() > 1
    plan = rows.select(
        ROW,
        _any(checks, "red").alias(RED),
        _any(checks, "yellow").alias(YELLOW),
        _hash(messages, rows).alias(WHOLE),
        pl.when(asked).then(_hash(prompt, rows)).alias(PROMPT),
    )
    return plan.collect(engine="streaming")
