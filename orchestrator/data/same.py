"""Which examples are the same: hashes of what is said, offered and called in them.

Rows of one mapping have fields that those of another lack. A field that a row does not use leaves its hash as
it is, and a weight says what is learned, not what is said: so rows of all mappings can be compared.
"""

from __future__ import annotations

import polars as pl

from orchestrator.data.checks import MESSAGES
from orchestrator.data.shapes import EXTRAS, TEXT, TEXTS
from orchestrator.data.tool_checks import TOOLS

_FIELDS = tuple(name for name in EXTRAS if name != "weight")
_NOTHING = pl.lit(0, pl.UInt64)


def whole_hash(schema: pl.Schema, prompt: str) -> pl.Expr:
    """The hash of an example, from the column with that of its prompt, and its last message."""
    if MESSAGES not in schema:
        return pl.col(*TEXT.columns).hash()
    return pl.struct(prompt, last=_hash(pl.col(MESSAGES).list.tail(1), schema)).hash()


def prompt_hash(schema: pl.Schema) -> pl.Expr:
    """The hash of all messages but the last; null where there is but one, or plain text."""
    if MESSAGES not in schema:
        return pl.lit(None, pl.UInt64)
    count = pl.col(MESSAGES).list.len().cast(pl.Int64)
    return pl.when(count > 1).then(_hash(pl.col(MESSAGES).list.head((count - 1).clip(0)), schema))


def answer_hash(schema: pl.Schema) -> pl.Expr:
    """The hash of the text of the last message; null where there is plain text."""
    if MESSAGES not in schema:
        return pl.lit(None, pl.UInt64)
    return pl.col(MESSAGES).list.last().struct.field("content").hash()


def _hash(messages: pl.Expr, schema: pl.Schema) -> pl.Expr:
    message, there = pl.element().struct, _fields(schema)
    said = messages
    if set(there) > set(TEXTS):
        said = messages.list.eval(pl.struct(message.field(name) for name in TEXTS))
    found = said.hash()
    for seed, name in enumerate(_FIELDS, start=1):
        if name in there:
            found ^= _if_used(messages.list.eval(message.field(name)), seed)
    if TOOLS in schema:
        found ^= pl.when(pl.col(TOOLS).is_not_null()).then(pl.col(TOOLS).hash()).otherwise(_NOTHING)
    return found


def _if_used(values: pl.Expr, seed: int) -> pl.Expr:
    """The hash of a field's values in all messages; nothing where none has one."""
    used = values.list.eval(pl.element().is_not_null()).list.any().fill_null(False)
    return pl.when(used).then(values.hash(seed)).otherwise(_NOTHING)


def _fields(schema: pl.Schema) -> list[str]:
    inner = getattr(schema[MESSAGES], "inner", None)
    return [field.name for field in inner.fields] if isinstance(inner, pl.Struct) else []
