"""A column whose rows are the JSON text of a list of messages, read row by row, in Python."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import polars as pl

from orchestrator.data.checks import PARTS
from orchestrator.data.content_parts import joined
from orchestrator.data.shapes import CALLS
from orchestrator.data.tool_calls import calls_of, halved

OTHERS = "other fields"
# A weight may be anything: 0 and 1 stay, what is neither becomes NaN.
MESSAGE = pl.Struct(
    {
        "role": pl.String(),
        "content": pl.String(),
        "weight": pl.Float64(),
        "tool_calls": CALLS,
        "tool_call_id": pl.String(),
        "name": pl.String(),
        "reasoning_content": pl.String(),
        OTHERS: pl.String(),
        PARTS: pl.String(),
    }
)
PARSED = pl.List(MESSAGE)
_CARRIED = frozenset({"weight", "tool_calls", "function_call", "tool_call_id", "name", "reasoning_content"})


def read_messages(texts: pl.Series, forms: Sequence[tuple[str, str]]) -> pl.Series:
    """Lists of messages; `forms` are the names that role and text may have.

    Null where a text is broken (half of a surrogate pair breaks it too), or no list of objects.
    """
    return pl.Series(texts.name, [_messages(text, forms) for text in texts.to_list()], dtype=PARSED)


def _messages(text: str | None, forms: Sequence[tuple[str, str]]) -> list[dict[str, object]] | None:
    try:
        value = json.loads(text) if text else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        return None
    if text and "\\u" in text and halved(json.dumps(value, ensure_ascii=False)):
        return None
    return [_message(message, forms) for message in value]


def _message(message: Mapping[str, object], forms: Sequence[tuple[str, str]]) -> dict[str, object]:
    names = next((form for form in forms if form[0] in message), forms[0])
    role, said = (message.get(name) for name in names)
    content, other_parts = joined(said)
    others = [
        name for name, value in message.items() if name not in (*names, *_CARRIED) and value is not None
    ]
    return {
        "role": role if isinstance(role, str) else None,
        "content": content,
        "weight": _weight(message.get("weight")),
        "tool_calls": calls_of(message.get("tool_calls") or message.get("function_call")),
        **{name: _text(message.get(name)) for name in ("tool_call_id", "name", "reasoning_content")},
        OTHERS: ", ".join(others) or None,
        PARTS: other_parts,
    }


def _weight(value: object) -> float | None:
    if value is None:
        return None
    return float(value) if value in (0, 1) else math.nan


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
