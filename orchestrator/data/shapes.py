"""Shapes: the canonical form of an example, one per method family, as JSON Schema and as Polars type."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import polars as pl

ROLES = ("system", "user", "assistant", "tool")
MESSAGE = pl.Struct({"role": pl.String(), "content": pl.String()})
MESSAGES = pl.List(MESSAGE)


@dataclass(frozen=True)
class Shape:
    """The name of a shape, and the columns of its Parquet files."""

    name: str
    columns: pl.Schema

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema that every row of the shape fulfils."""
        return _json_schema(self.name)


CONVERSATION = Shape("fine_tuning_conversation", pl.Schema({"messages": MESSAGES}))


@cache
def _json_schema(name: str) -> dict[str, Any]:
    text = files("orchestrator.data").joinpath(f"shape_schemas/{name}.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
