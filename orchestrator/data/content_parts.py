"""What a message says, where that is a list of typed parts: its texts joined by a line end.

vLLM hands the parts of a message to a text model joined so, and the model is to learn what it will be asked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import polars as pl

from orchestrator.data.template_values import instance

JOINED_BY = "\n"
_TEXTS = ("text", "input_text", "output_text")


def readable(dtype: pl.DataType) -> bool:
    """Whether values of a type are parts: texts, or structs."""
    return isinstance(dtype, pl.List) and isinstance(instance(dtype.inner), pl.String | pl.Struct | pl.Null)


def text_of(said: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The texts of parts of this type as one."""
    text, _, there = _part(dtype)
    return said.list.eval(pl.when(there).then(text)).list.join(JOINED_BY, ignore_nulls=True)


def others_of(said: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """The kinds of parts that are no text, as text; null where all are texts."""
    _, kind, there = _part(dtype)
    others = said.list.eval(kind.filter(~there)).list.unique(maintain_order=True)
    return pl.when(others.list.len() > 0).then(others.list.join(", "))


def joined(said: object) -> tuple[str | None, str | None]:
    """What `text_of` and `others_of` are, of a value of JSON."""
    if said is None or isinstance(said, str):
        return said, None
    parts = said if isinstance(said, list) else [said]
    texts = [_text(part) for part in parts]
    others = dict.fromkeys(_kind(part) for part, text in zip(parts, texts, strict=True) if text is None)
    return JOINED_BY.join(text for text in texts if text is not None), ", ".join(others) or None


def _part(dtype: pl.DataType) -> tuple[pl.Expr, pl.Expr, pl.Expr]:
    """Of a part (`pl.element()`): its text, its kind, and whether it is text."""
    part, inner = pl.element(), instance(getattr(dtype, "inner", pl.Null()))
    if not isinstance(inner, pl.Struct):
        return part.cast(pl.String), pl.lit("null"), part.is_not_null()
    names = [field.name for field in inner.fields if instance(field.dtype) == pl.String]
    text, kind = (
        part.struct.field(name) if name in names else pl.lit(None, pl.String) for name in ("text", "type")
    )
    there = text.is_not_null() & (kind.is_null() | kind.is_in(_TEXTS))
    return text, kind.fill_null("a part without text"), there


def _text(part: object) -> str | None:
    if not isinstance(part, Mapping):
        return part if isinstance(part, str) else None
    text = part.get("text")
    return text if isinstance(text, str) and part.get("type") in (None, *_TEXTS) else None


def _kind(part: object) -> str:
    if not isinstance(part, Mapping):
        return json.dumps(part)
    return str(part.get("type") or "a part without text")
