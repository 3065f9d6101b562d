"""JSON text of a value as a Polars expression, equal to Python's `json.dumps(value, ensure_ascii=False)`."""

from __future__ import annotations

import json

import polars as pl

from orchestrator.data.template_values import (
    Refusal,
    Value,
    called,
    float_text,
    inner_type,
    instance,
    text,
    typed,
)

# Everything that json.dumps writes differently when told to keep non-ASCII characters.
ESCAPES = {chr(code): json.dumps(chr(code))[1:-1] for code in (*range(0x20), ord('"'), ord("\\"))}


def json_text(value: Value) -> pl.Expr:
    """The JSON of a value, never null: a missing one is `null`; raises Refusal for dates and mixed values."""
    written = _present(value)
    if value.kind == "struct":
        # Its fields are joined into text even where the struct itself is null.
        return pl.when(value.expr.is_null()).then(pl.lit("null")).otherwise(written)
    return written.fill_null("null") if value.nullable else written


def _present(value: Value) -> pl.Expr:
    if value.kind == "missing":
        return text(value)
    if value.kind == "text":
        return _quoted(value.expr)
    if value.kind == "integer":
        return text(value)
    if value.kind == "boolean":
        return pl.when(value.expr).then(pl.lit("true")).when(value.expr.not_()).then(pl.lit("false"))
    if value.kind == "float":
        return float_text(value.expr, "NaN", "Infinity")
    if value.kind == "list":
        return _list(value)
    if value.kind == "struct":
        return _struct(value)
    raise Refusal(f"{called(value.kind)} has no JSON form", "turn it into text first, with `| string`")


def _quoted(expr: pl.Expr) -> pl.Expr:
    return _around('"', expr.str.replace_many(ESCAPES), '"')


def _list(value: Value) -> pl.Expr:
    element = json_text(typed(pl.element(), inner_type(value.dtype)))
    return _around("[", value.expr.list.eval(element).list.join(", "), "]")


def _struct(value: Value) -> pl.Expr:
    assert isinstance(value.dtype, pl.Struct)
    parts: list[pl.Expr] = []
    for place, field in enumerate(value.dtype.fields):
        key = json.dumps(field.name, ensure_ascii=False)
        parts.append(pl.lit(f"{', ' if place else ''}{key}: "))
        parts.append(json_text(typed(value.expr.struct.field(field.name), instance(field.dtype))))
    return _around("{", *parts, "}")


def _around(opening: str, *rest: pl.Expr | str) -> pl.Expr:
    parts = [pl.lit(part) if isinstance(part, str) else part for part in (opening, *rest)]
    return pl.concat_str(parts)
