"""Rows of a shape in canonical form: with the same fields from every file, and as the text of a digest."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from orchestrator.data.shapes import EXTRAS, Shape


def aligned(frames: Sequence[pl.LazyFrame], shape: Shape) -> list[pl.LazyFrame]:
    """Frames of one shape, each with every column and every field of a message that any of them has."""
    schemas = [frame.collect_schema() for frame in frames]
    columns = [name for name in shape.columns if any(name in schema for schema in schemas)]
    fields = _fields(schemas)
    return [
        frame.with_columns(_aligned(name, schema, shape, fields) for name in columns)
        for frame, schema in zip(frames, schemas, strict=True)
    ]


def line(schema: pl.Schema) -> pl.Expr:
    """The text of a row as the content digest takes it, without its line end.

    A text `value` is written `<bytes>:<value>`, so that no two rows have one text. Messages are each
    `<role>:<content>`, then `;<name>:<value>` for whatever else they have, then `,`; calls are
    `<id><name><arguments>` one behind the other. Tools follow as `;tools:<value>`. A plain text is a value.
    """
    if "text" in schema:
        return _sized(pl.col("text"))
    message = pl.element().struct
    parts = [message.field("role"), pl.lit(":"), _sized(message.field("content"))]
    parts += [_further(name, message.field(name)) for name in _fields([schema]) if name in EXTRAS]
    texts = pl.col("messages").list.eval(pl.concat_str(*parts, pl.lit(","))).list.join("")
    return pl.concat_str(texts, _further("tools", pl.col("tools"))) if "tools" in schema else texts


def _fields(schemas: Sequence[pl.Schema]) -> list[str]:
    """The fields that messages have under any of some schemas, in the shape's order."""
    there = {
        field.name
        for schema in schemas
        if isinstance(messages := schema.get("messages"), pl.List) and isinstance(messages.inner, pl.Struct)
        for field in messages.inner.fields
    }
    return [name for name in ("role", "content", *EXTRAS) if name in there]


def _aligned(name: str, schema: pl.Schema, shape: Shape, fields: Sequence[str]) -> pl.Expr:
    if name != "messages":
        return pl.col(name) if name in schema else pl.lit(None, shape.columns[name]).alias(name)
    own = _fields([schema])
    if own == list(fields):
        return pl.col(name)
    message = pl.element().struct
    every = [message.field(each) if each in own else pl.lit(None, EXTRAS[each]) for each in fields]
    named = (one.alias(each) for one, each in zip(every, fields, strict=True))
    return pl.col(name).list.eval(pl.struct(named))


def _further(name: str, value: pl.Expr) -> pl.Expr:
    """Nothing where there is no value."""
    written = _calls(value) if name == "tool_calls" else value.cast(pl.String)
    return pl.when(value.is_null()).then(pl.lit("")).otherwise(pl.lit(f";{name}:") + _sized(written))


def _calls(calls: pl.Expr) -> pl.Expr:
    call = pl.element().struct
    function = call.field("function").struct
    texts = (call.field("id").fill_null(""), function.field("name"), function.field("arguments"))
    return calls.list.eval(pl.concat_str(_sized(text) for text in texts)).list.join("")


def _sized(text: pl.Expr) -> pl.Expr:
    return pl.concat_str(text.str.len_bytes().cast(pl.String), pl.lit(":"), text)
