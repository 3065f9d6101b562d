"""Types of columns that mean the same in SQLite and PostgreSQL."""

from __future__ import annotations

import json
import math
from typing import Any

import sqlalchemy as sa


class Words(sa.TypeDecorator[str]):
    """Text from anywhere. PostgreSQL keeps no NUL in a text, so none is kept."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        return value if value is None else value.replace("\0", "")


class Number(sa.TypeDecorator[float]):
    """A float. SQLite keeps NULL for what is no number, so that is kept in PostgreSQL too."""

    impl = sa.Float
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: sa.Dialect) -> float | None:
        return None if value is None or math.isnan(value) else value


def write_json(value: Any) -> str:
    """JSON as its standard has it, null for numbers that it lacks: PostgreSQL takes no other."""
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
