"""Jinja's tests (`x is string`) of the compiled core, as functions from values to Booleans, never null.

What is missing passes none of them but `none`, `undefined`, and comparisons with what is missing too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from orchestrator.data.template_compare import contains, equal, ordered
from orchestrator.data.template_values import (
    Refusal,
    Value,
    called,
    defined,
)

Test = Callable[[Value, Sequence[Value]], pl.Expr]

FALSE = pl.lit(False)


def there(value: Value) -> pl.Expr:
    """Whether a value is not missing."""
    return FALSE if value.kind == "missing" else defined(value)


def _of_kind(*kinds: str) -> Test:
    def test(value: Value, given: Sequence[Value]) -> pl.Expr:
        _takes(given, 0)
        if value.kind == "mixed":
            raise Refusal("the kind of a value of several kinds", "test the column itself", outside=True)
        return there(value) if value.kind in kinds else FALSE

    return test


def _is(known: bool) -> Test:
    def test(value: Value, given: Sequence[Value]) -> pl.Expr:
        _takes(given, 0)
        if value.kind != "boolean":
            return FALSE
        return (value.expr if known else value.expr.not_()).fill_null(False)

    return test


def _remainder(rest: int) -> Test:
    def test(value: Value, given: Sequence[Value]) -> pl.Expr:
        _takes(given, 0)
        if value.kind == "missing":
            return FALSE
        if value.kind != "integer":
            raise Refusal(f"`odd` and `even` do not take {called(value.kind)}", "use `| int`", outside=True)
        return (value.expr.cast(pl.Int128) % 2 == rest).fill_null(False)

    return test


def _compared(compare: Callable[[Value, Value], pl.Expr]) -> Test:
    def test(value: Value, given: Sequence[Value]) -> pl.Expr:
        _takes(given, 1)
        return compare(value, given[0])

    return test


def _takes(given: Sequence[Value], count: int) -> None:
    if len(given) != count:
        raise Refusal("a test with these arguments", f"it takes {count or 'none'}", outside=True)


_EQUAL = _compared(equal)
_UNEQUAL = _compared(lambda left, right: equal(left, right).not_())
_LESS = _compared(lambda left, right: ordered("lt", left, right))
_GREATER = _compared(lambda left, right: ordered("gt", left, right))
_AT_MOST = _compared(lambda left, right: ordered("lteq", left, right))
_AT_LEAST = _compared(lambda left, right: ordered("gteq", left, right))

TESTS: Mapping[str, Test] = {
    "defined": lambda value, given: there(value),
    "undefined": lambda value, given: there(value).not_(),
    "none": lambda value, given: there(value).not_(),
    "string": _of_kind("text"),
    "number": _of_kind("integer", "float", "boolean"),
    "integer": _of_kind("integer"),
    "float": _of_kind("float"),
    "boolean": _of_kind("boolean"),
    "mapping": _of_kind("struct"),
    "iterable": _of_kind("text", "list", "struct"),
    "sequence": _of_kind("text", "list", "struct"),
    "true": _is(True),
    "false": _is(False),
    "odd": _remainder(1),
    "even": _remainder(0),
    "in": _compared(contains),
    **dict.fromkeys(("eq", "equalto", "=="), _EQUAL),
    **dict.fromkeys(("ne", "!="), _UNEQUAL),
    **dict.fromkeys(("lt", "lessthan", "<"), _LESS),
    **dict.fromkeys(("gt", "greaterthan", ">"), _GREATER),
    **dict.fromkeys(("le", "<="), _AT_MOST),
    **dict.fromkeys(("ge", ">="), _AT_LEAST),
}
