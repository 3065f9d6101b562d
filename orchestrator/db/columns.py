"""Types of columns that mean the same in SQLite and PostgreSQL."""

from __future__ import annotations

import json
import math
from typing import Any

import sqlalchemy as sa


class Words(sa.TypeDecorator[str]):
    """Text from anywhere. PostgreSQL keeps no NUL in a text, so none is kept; no database keeps half a
    character, which stands for a byte of a file name that is not UTF-8, so it becomes a question mark."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return value if value is None else _whole(value.replace("\0", ""))


class Number(sa.TypeDecorator[float]):
    """A float. SQLite keeps NULL for what is no number, so that is kept in PostgreSQL too."""

    impl = sa.Float
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: sa.Dialect) -> float | None:
        return None if value is None or math.isnan(value) else value


def write_json(value: Any) -> str:
    """JSON as its standard has it, null for numbers that it lacks: PostgreSQL takes no other. A NUL it takes,
    but then reads no field of the whole value, so none is kept. Half characters are question marks, for no
    answer of the API could hold them."""
    try:
        text = _json(value)
    except ValueError:
        text = _json(_sound(value))
    return _whole(_json(_sound(value)) if r"\u0000" in text else text)


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)


def _whole(text: str) -> str:
    return text.encode(errors="replace").decode()


def _sound(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, dict):
        return {_sound(key): _sound(inner) for key, inner in value.items()}
    return [_sound(inner) for inner in value] if isinstance(value, list | tuple) else value
