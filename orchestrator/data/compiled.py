"""A mapping compiled for rows of one schema, whatever its kind: one lazy Polars plan and its checks."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from orchestrator.data.checks import RowCheck
from orchestrator.data.rows import ROW
from orchestrator.data.template import Condition, Slow
from orchestrator.errors import Fault
from orchestrator.nearest import nearest

TEXT_TYPES = (pl.String, pl.Categorical, pl.Enum, pl.Null)

Step = tuple[pl.Expr, ...]


@dataclass(frozen=True)
class Grouping:
    """Rows that are put together: those with one `key`, into `aggregates`, in the place of their first."""

    key: str
    aggregates: tuple[pl.Expr, ...]

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        return rows.group_by(self.key).agg(pl.col(ROW).min(), *self.aggregates).sort(ROW)


@dataclass(frozen=True)
class CompiledMapping:
    """A mapping for rows of one schema, `where` left to the caller of `apply`.

    `columns` are those of the source that are read, `out` those of the example, in their order. Each of
    `steps` is a selection beside `axo_row`. Messages have `carried` beside role and content. `slow` are the
    templates that run row by row, without the condition.
    """

    checks: tuple[RowCheck, ...]
    columns: frozenset[str]
    steps: tuple[Step, ...]
    out: tuple[str, ...]
    carried: tuple[str, ...] = ()
    where: Condition | None = None
    slow: tuple[Slow, ...] = ()
    grouping: Grouping | None = None

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """From rows of the source: `axo_row`, the columns of `out`, those that the checks tell values
        from, and `check <n>`, one Boolean for each of `checks`; only rows that `where` keeps."""
        frame = rows if self.where is None else _kept(rows, self.where)
        frame = frame.with_columns(*(part.outcome for part in self.slow))
        frame = frame if self.grouping is None else self.grouping.apply(frame)
        for step in self.steps:
            frame = frame.select(pl.col(ROW), *step)
        checked = [check.when.alias(check_column(number)) for number, check in enumerate(self.checks)]
        values = [check.value for check in self.checks if check.value is not None]
        shown = {name for value in values for name in value.meta.root_names()}
        return frame.select(ROW, *self.out, *sorted(shown - set(self.out)), *checked)


def _kept(rows: pl.LazyFrame, where: Condition) -> pl.LazyFrame:
    if where.slow is not None:
        rows = rows.with_columns(where.slow.outcome)
    return rows.filter(where.holds)


def check_column(number: int) -> str:
    return f"check {number}"


def no_column(path: str, name: str, schema: pl.Schema) -> Fault:
    """The fault of a column that is not there."""
    near = nearest(name, schema.names())
    fix = f"did you mean `{near}`?" if near else f"the columns are {', '.join(schema.names())}"
    return Fault("there is no such column", fix, path=path, value=name)
