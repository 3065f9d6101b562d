"""Typed values of a template as Polars expressions: how they print and choose.

A value's expression is null exactly where the value is missing. The rules are in `template.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl
from polars.datatypes import DataTypeClass

Kind = Literal[
    "text", "integer", "float", "boolean", "date", "datetime", "list", "struct", "missing", "mixed"
]
Scalar = str | int | float | bool | None

NUMBERS = ("integer", "float", "boolean")
# str.isspace() of Python; Polars' own default set is another one.
WHITESPACE = "".join(chr(code) for code in range(0x3001) if chr(code).isspace())
TYPES_OF_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32)
WIDE_INTEGERS = (pl.UInt64, pl.Int128, pl.UInt128)
KINDS: dict[type[pl.DataType], Kind] = {
    pl.String: "text",
    pl.Int64: "integer",
    pl.Int128: "integer",
    pl.Float64: "float",
    pl.Boolean: "boolean",
    pl.Date: "date",
    pl.Datetime: "datetime",
    pl.List: "list",
    pl.Struct: "struct",
    pl.Null: "missing",
}
TYPES_OF_LITERALS: dict[type, pl.DataType] = {
    bool: pl.Boolean(),
    int: pl.Int64(),
    float: pl.Float64(),
    str: pl.String(),
}


NAMES: dict[Kind, str] = {
    "text": "text",
    "integer": "an integer",
    "missing": "a missing value",
    "mixed": "a value of several kinds",
}


def called(kind: Kind) -> str:
    """A kind in a sentence."""
    return NAMES.get(kind, f"a {kind}")


class Refusal(Exception):
    """The compiled core does not do this.

    `outside` says that plain Jinja could still do it, row by row; `word` is where to point in the line.
    """

    def __init__(self, what: str, fix: str, *, outside: bool = False, word: str | None = None) -> None:
        super().__init__(what)
        self.what, self.fix, self.outside, self.word = what, fix, outside, word


@dataclass(frozen=True)
class Value:
    """One value of a template: its kind, and the expression that yields it for every row.

    `known` values are written in the template, and `literal` is their content. `from_row` values print what
    a row holds. `blank` overrides when printing counts as empty; `truth` is set for mixed values only, whose
    `expr` is their text.
    """

    kind: Kind
    expr: pl.Expr
    dtype: pl.DataType
    nullable: bool = True
    from_row: bool = True
    known: bool = False
    literal: Scalar = None
    blank: pl.Expr | None = None
    truth: pl.Expr | None = None


def column(name: str, dtype: pl.DataType) -> Value:
    """The value of a column; its types are narrowed to the few that the core knows."""
    expr = pl.col(name)
    known = plain(dtype)
    if isinstance(dtype, pl.Array):
        # A cast of an array column fails where a whole array is null.
        expr, dtype = expr.arr.to_list(), pl.List(dtype.inner)
    return typed(expr if known == dtype else expr.cast(known), known)


def typed(expr: pl.Expr, dtype: pl.DataType) -> Value:
    """The value of an expression of a plain type; raises Refusal for a type that templates cannot read."""
    kind = KINDS.get(type(dtype))
    zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
    if kind is None or zone is not None:
        raise Refusal(
            f"templates cannot read a value of type {dtype}", "turn it into text or a number in the source"
        )
    return Value(kind, expr, dtype)


def plain(dtype: pl.DataType) -> pl.DataType:
    """The type that a column's values have in templates."""
    if isinstance(dtype, pl.Array):
        dtype = pl.List(dtype.inner)
    return _plain(dtype)


def _plain(dtype: pl.DataType) -> pl.DataType:
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    if isinstance(dtype, TYPES_OF_INTEGERS):
        return pl.Int64()
    if isinstance(dtype, WIDE_INTEGERS):
        return pl.Int128()
    if isinstance(dtype, pl.Float32):
        return pl.Float64()
    if isinstance(dtype, pl.Datetime):
        return pl.Datetime("us", dtype.time_zone)
    if isinstance(dtype, pl.List):
        return pl.List(_plain(inner_type(dtype)))
    if isinstance(dtype, pl.Struct):
        return pl.Struct([pl.Field(field.name, _plain(instance(field.dtype))) for field in dtype.fields])
    return dtype


def inner_type(dtype: pl.DataType) -> pl.DataType:
    """The type of the elements of a list type."""
    assert isinstance(dtype, pl.List)
    return instance(dtype.inner)


def instance(dtype: DataTypeClass | pl.DataType) -> pl.DataType:
    """A type written as a class (`pl.String`) or as an instance (`pl.String()`), as an instance."""
    return dtype if isinstance(dtype, pl.DataType) else dtype()


def written(literal: Scalar) -> Value:
    """The value of a literal in the template; raises Refusal for an integer beyond 64 bits."""
    if literal is None:
        return Value("missing", pl.lit(None, pl.String), pl.Null(), from_row=False, known=True)
    if type(literal) is int and not -(2**63) <= literal < 2**63:
        raise Refusal(f"the number {literal} does not fit in 64 bits", "use a smaller number")
    dtype = TYPES_OF_LITERALS[type(literal)]
    expr, kind = pl.lit(literal, dtype), KINDS[type(dtype)]
    return Value(kind, expr, dtype, nullable=False, from_row=False, known=True, literal=literal)


def derive(kind: Kind, expr: pl.Expr, dtype: pl.DataType, *parents: Value, nullable: bool = False) -> Value:
    """A value worked out of others."""
    return Value(kind, expr, dtype, nullable, from_row=any(parent.from_row for parent in parents))


def text(value: Value) -> pl.Expr:
    """The printed form of a value, null where it is missing; raises Refusal where printing is not defined."""
    expr = value.expr
    if value.kind in ("text", "mixed", "missing"):
        return expr.cast(pl.String) if value.kind == "missing" else expr
    if value.kind in ("integer", "date"):
        return expr.cast(pl.String)
    if value.kind == "boolean":
        return pl.when(expr).then(pl.lit("True")).when(expr.not_()).then(pl.lit("False"))
    if value.kind == "datetime":
        whole = expr.dt.microsecond() == 0
        seconds = expr.dt.strftime("%Y-%m-%d %H:%M:%S")
        return pl.when(whole).then(seconds).otherwise(expr.dt.strftime("%Y-%m-%d %H:%M:%S%.6f"))
    if value.kind == "float":
        return float_text(expr, "nan", "inf")
    fixes = {
        "list": "use `| join(', ')` or `| tojson`",
        "struct": "print one of its fields, or use `| tojson`",
    }
    raise Refusal(f"{called(value.kind)} cannot be printed as it is", fixes[value.kind])


def float_text(expr: pl.Expr, nan: str, infinity: str) -> pl.Expr:
    """A float as Python writes it, which knows the same shortest digits as Polars, but other exponents."""
    digits = expr.cast(pl.String)
    small = digits.str.replace(r"^(-?)0\.0000([1-9])(\d*)$", "${1}${2}.${3}e-05").str.replace(
        ".e-05", "e-05", literal=True
    )
    finite = small.str.replace(r"e-(\d)$", "e-0${1}")
    named = pl.when(expr > 0).then(pl.lit(infinity)).otherwise(pl.lit(f"-{infinity}"))
    odd = pl.when(expr.is_nan()).then(pl.lit(nan)).otherwise(named)
    return pl.when(expr.is_finite()).then(finite).when(expr.is_not_null()).then(odd)


def full_text(value: Value) -> pl.Expr:
    """The printed form of a value, empty where it is missing."""
    return text(value).fill_null("") if value.nullable else text(value)


def truth(value: Value) -> pl.Expr:
    """Whether a value counts as true, as Python would have it; never null."""
    if value.kind == "missing":
        return pl.lit(False)
    if value.kind == "mixed":
        assert value.truth is not None
        return value.truth
    if value.kind in ("date", "datetime", "struct"):
        return defined(value)
    if value.kind == "boolean":
        true = value.expr
    elif value.kind == "text":
        true = value.expr != ""
    else:
        true = (value.expr.list.len() if value.kind == "list" else value.expr) != 0
    return true.fill_null(False) if value.nullable else true


def defined(value: Value) -> pl.Expr:
    """Whether a value is there; never null."""
    return value.expr.is_not_null() if value.nullable else pl.lit(True)


def blank(value: Value) -> pl.Expr | None:
    """Whether printing this value shows a field that is missing or empty; None if it never does."""
    if value.blank is not None:
        return value.blank
    if not value.from_row:
        return None
    if value.kind in ("text", "mixed"):
        return full_text(value) == ""
    return value.expr.is_null() if value.nullable else None


def any_of(conditions: Sequence[pl.Expr | None]) -> pl.Expr | None:
    """Whether one of the conditions holds, where None never does."""
    real = [condition for condition in conditions if condition is not None]
    return pl.any_horizontal(real) if real else None


def choose(condition: pl.Expr, yes: Value, no: Value) -> Value:
    """One value or the other; raises Refusal where the two cannot share a kind."""
    expr, kind, dtype = _unite(condition, yes, no)
    empties = (blank(yes), blank(no))
    empty = None
    if any(one is not None for one in empties):
        first, second = (pl.lit(False) if one is None else one for one in empties)
        empty = pl.when(condition).then(first).otherwise(second)
    merged = derive(kind, expr, dtype, yes, no, nullable=yes.nullable or no.nullable)
    if kind == "mixed":
        merged = replace(merged, truth=pl.when(condition).then(truth(yes)).otherwise(truth(no)))
    return replace(merged, blank=pl.lit(False) if empty is None else empty)


def _unite(condition: pl.Expr, yes: Value, no: Value) -> tuple[pl.Expr, Kind, pl.DataType]:
    real = [value for value in (yes, no) if value.kind != "missing"]
    if not real:
        return yes.expr, "missing", yes.dtype
    kind, dtype = real[0].kind, real[0].dtype
    if any(value.kind != kind or value.dtype != dtype for value in real):
        if all(value.kind == "integer" for value in real):
            dtype = pl.Int128()
        else:
            return _mix(condition, yes, no), "mixed", pl.String()
    first, second = (
        pl.lit(None, dtype) if value.kind == "missing" else value.expr.cast(dtype) for value in (yes, no)
    )
    return pl.when(condition).then(first).otherwise(second), kind, dtype


def _mix(condition: pl.Expr, yes: Value, no: Value) -> pl.Expr:
    try:
        return pl.when(condition).then(text(yes)).otherwise(text(no))
    except Refusal as refusal:
        raise Refusal(
            f"this is either {called(yes.kind)} or {called(no.kind)}, and the two cannot be printed alike",
            "give both the same type, for instance with `| tojson` or `| join(', ')`",
        ) from refusal
