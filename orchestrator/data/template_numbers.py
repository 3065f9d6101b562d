"""Arithmetic and numbers in templates, as functions from values to values."""

from __future__ import annotations

from typing import Literal

import polars as pl

from orchestrator.data.template_reference import FLOAT_TEXT, INTEGER_TEXT
from orchestrator.data.template_values import WHITESPACE, Refusal, Value, called, derive, written

Operator = Literal["+", "-", "*", "/", "//", "%"]

INTEGER, FLOAT = pl.Int64(), pl.Float64()


def arithmetic(operator: Operator, left: Value, right: Value) -> Value:
    """Arithmetic as in Python; missing where a side is, for a division by 0, and beyond 64 bits."""
    kinds = {left.kind, right.kind} - {"missing"}
    if operator == "+" and kinds == {"text"}:
        both = left.kind == right.kind
        return (
            derive("text", left.expr + right.expr, left.dtype, left, right, nullable=True)
            if both
            else written(None)
        )
    for side, other in ((left, right), (right, left)):
        _need_number(operator, side, other)
    if "missing" in (left.kind, right.kind):
        return written(None)
    if "float" in kinds or operator == "/":
        return _with_floats(operator, left, right)
    # 128 bits hold every result of two 64-bit numbers; the cast back finds those that do not fit.
    first, second = (side.expr.cast(pl.Int128) for side in (left, right))
    exact = {
        "+": first + second,
        "-": first - second,
        "*": first * second,
        "//": first // second,
        "%": first % second,
    }[operator]
    return derive("integer", exact.cast(pl.Int64, strict=False), INTEGER, left, right, nullable=True)


def negative(value: Value) -> Value:
    """The negative of a number; missing beyond 64 bits."""
    if value.kind != "float":
        return arithmetic("-", written(0), value)
    return derive("float", -value.expr, FLOAT, value, nullable=value.nullable)


def absolute(value: Value) -> Value:
    """`abs`: missing beyond 64 bits."""
    if value.kind == "missing":
        return value
    if value.kind == "float":
        return derive("float", value.expr.abs(), FLOAT, value, nullable=value.nullable)
    if value.kind != "integer":
        raise Refusal(f"`abs` does not take {called(value.kind)}", "give it a number", word="abs")
    whole = value.expr.cast(pl.Int128).abs().cast(pl.Int64, strict=False)
    return derive("integer", whole, INTEGER, value, nullable=True)


def rounded(value: Value) -> Value:
    """`round`: to a whole float, half to even."""
    if value.kind in ("missing", "integer"):
        return value
    if value.kind != "float":
        raise Refusal(f"`round` does not take {called(value.kind)}", "use `| float` first", word="round")
    return derive("float", value.expr.round(0, mode="half_to_even"), FLOAT, value, nullable=value.nullable)


def to_integer(value: Value, default: int) -> Value:
    """`int`: the part before the point; the default for what is no number, missing beyond 64 bits."""
    if value.kind == "missing":
        return written(default)
    if value.kind == "text":
        return _read_integer(value, default)
    if value.kind in ("integer", "boolean"):
        whole = value.expr.cast(pl.Int64) if value.kind == "boolean" else value.expr
        dtype = INTEGER if value.kind == "boolean" else value.dtype
        return derive("integer", whole.fill_null(default), dtype, value)
    if value.kind != "float":
        raise Refusal(f"`int` does not take {called(value.kind)}", "give it a number or a text", word="int")
    return derive("integer", _truncated(value.expr, default), INTEGER, value, nullable=True)


def to_float(value: Value, default: float) -> Value:
    """`float`: the default for what is no number."""
    if value.kind == "missing":
        return written(default)
    if value.kind == "text":
        found = _read_float(value.expr)
    elif value.kind in ("integer", "boolean", "float"):
        found = value.expr.cast(pl.Float64)
    else:
        raise Refusal(
            f"`float` does not take {called(value.kind)}", "give it a number or a text", word="float"
        )
    return derive("float", found.fill_null(default), FLOAT, value)


def _need_number(operator: Operator, side: Value, other: Value) -> None:
    if side.kind in ("float", "missing") or (
        side.kind == "integer" and not isinstance(side.dtype, pl.Int128)
    ):
        return
    fix = "join text with `~`" if side.kind == "text" else "use whole numbers of 64 bits"
    # Python repeats and formats text; it adds none to a number.
    could = side.kind != "text" or operator in ("*", "%") or other.kind in ("missing", "mixed")
    raise Refusal(f"`{operator}` does not take {called(side.kind)} here", fix, outside=could)


def _with_floats(operator: Operator, left: Value, right: Value) -> Value:
    first, second = (side.expr.cast(pl.Float64) for side in (left, right))
    if operator in ("//", "%"):
        raise Refusal(f"`{operator}` of floats", "use `| int` first, or `/`", outside=True)
    result = {
        "+": first + second,
        "-": first - second,
        "*": first * second,
        "/": pl.when(second != 0).then(first / second),
    }[operator]
    nullable = operator == "/" or left.nullable or right.nullable
    return derive("float", result, FLOAT, left, right, nullable=nullable)


def _read_integer(value: Value, default: int) -> Value:
    """Digits are read exactly; other numbers as the floats they are."""
    trimmed = value.expr.str.strip_chars(WHITESPACE)
    exact = trimmed.str.contains(INTEGER_TEXT)
    whole = trimmed.str.strip_prefix("+").cast(pl.Int64, strict=False)
    found = pl.when(exact).then(whole).otherwise(_truncated(_read_float(value.expr), default))
    return derive("integer", found, INTEGER, value, nullable=True)


def _read_float(text: pl.Expr) -> pl.Expr:
    """The float that a text holds; null for any other text, and for one too large."""
    trimmed = text.str.strip_chars(WHITESPACE)
    found = pl.when(trimmed.str.contains(FLOAT_TEXT)).then(trimmed).cast(pl.Float64, strict=False)
    return pl.when(found.is_finite()).then(found)


def _truncated(number: pl.Expr, default: int) -> pl.Expr:
    odd = number.is_finite().not_().fill_null(True)
    return pl.when(odd).then(pl.lit(default, INTEGER)).otherwise(number.cast(pl.Int64, strict=False))
