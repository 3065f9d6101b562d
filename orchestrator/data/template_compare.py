"""How a template's values compare: equality, order, and what holds what. The rules are in `template.py`."""

from __future__ import annotations

from functools import reduce
from operator import and_
from typing import Literal

import polars as pl

from orchestrator.data.template_values import NUMBERS, Refusal, Value, called, defined, inner_type

EXACT_IN_FLOAT = 2**53


def equal(left: Value, right: Value) -> pl.Expr:
    """Whether two values are equal: missing equals missing and nothing else; never null."""
    if "missing" in (left.kind, right.kind):
        other = right if left.kind == "missing" else left
        return defined(other).not_() if other.kind != "missing" else pl.lit(True)
    first, second = _comparable(left, right)
    same = first.eq_missing(second) if left.nullable or right.nullable else first == second
    if "float" in (left.kind, right.kind):
        return same & first.cast(pl.Float64).is_nan().fill_null(False).not_()
    return same


def ordered(operator: Literal["lt", "lteq", "gt", "gteq"], left: Value, right: Value) -> pl.Expr:
    """A comparison of numbers, dates or text: false where a side is missing or no number; never null."""
    if "missing" in (left.kind, right.kind):
        return pl.lit(False)
    first, second = _comparable(left, right)
    holds = {
        "lt": first < second,
        "lteq": first <= second,
        "gt": first > second,
        "gteq": first >= second,
    }[operator]
    if "float" in (left.kind, right.kind):
        holds = reduce(and_, [holds, *(side.cast(pl.Float64).is_not_nan() for side in (first, second))])
    return holds.fill_null(False) if left.nullable or right.nullable else holds


def _comparable(left: Value, right: Value) -> tuple[pl.Expr, pl.Expr]:
    kinds = {left.kind, right.kind}
    if kinds <= set(NUMBERS):
        return _numbers(left, right)
    if len(kinds) == 1 and kinds <= {"text", "date", "datetime"}:
        return left.expr, right.expr
    raise Refusal(
        f"{called(left.kind)} cannot be compared with {called(right.kind)}",
        "compare values of the same kind (see `| string`)",
    )


def _numbers(left: Value, right: Value) -> tuple[pl.Expr, pl.Expr]:
    if left.kind == right.kind == "boolean":
        return left.expr, right.expr
    common: pl.DataType = pl.Int64()
    if "float" in (left.kind, right.kind):
        _stay_exact(left, right)
        common = pl.Float64()
    elif isinstance(left.dtype, pl.Int128) or isinstance(right.dtype, pl.Int128):
        common = pl.Int128()
    return _cast(left, common), _cast(right, common)


def _stay_exact(left: Value, right: Value) -> None:
    """Rounding to a float keeps every comparison with a number below 2**53, and no other."""
    if left.kind == right.kind or "boolean" in (left.kind, right.kind):
        return
    if any(value.known and abs(float(value.literal or 0)) < EXACT_IN_FLOAT for value in (left, right)):
        return
    raise Refusal(
        "an integer and a float that are compared exactly",
        "give both one type, as with `| float`",
        outside=True,
    )


def _cast(value: Value, dtype: pl.DataType) -> pl.Expr:
    return value.expr if value.dtype == dtype else value.expr.cast(dtype)


def contains(item: Value, container: Value) -> pl.Expr:
    """Whether text holds a text, or a list column a value; never null."""
    if container.kind == "missing":
        return pl.lit(False)
    if container.kind == "text" and item.kind in ("text", "missing"):
        if item.kind == "missing":
            return pl.lit(False)
        found = container.expr.str.contains(item.expr, literal=True)
    elif container.kind == "list":
        found = _listed(item, container)
    else:
        raise Refusal(
            f"`in` cannot look for {called(item.kind)} in {called(container.kind)}",
            "look for text in text, or for a value in a list of values of its kind",
        )
    return found.fill_null(False) if container.nullable or item.nullable else found


def _listed(item: Value, container: Value) -> pl.Expr:
    inner = inner_type(container.dtype)
    if item.kind == "missing":
        return container.expr.list.contains(pl.lit(None, inner), nulls_equal=True)
    if isinstance(inner, pl.Int128) and item.kind == "integer":
        return container.expr.list.contains(item.expr.cast(inner), nulls_equal=True)
    if inner != item.dtype or item.kind not in ("text", "integer", "boolean", "date", "datetime"):
        raise Refusal(
            f"`in` cannot look for {called(item.kind)} in a list of {inner}",
            "look for a value of the list's own kind",
        )
    return container.expr.list.contains(item.expr, nulls_equal=True)
