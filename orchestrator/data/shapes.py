"""Shapes: the canonical form of an example, one per method family, as JSON Schema and as Polars type."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import polars as pl

from orchestrator.spec.mapping import Mapping as MappingSpec

ROLES = ("system", "user", "assistant", "tool")
CALL = pl.Struct(
    {
        "id": pl.String(),
        "type": pl.String(),
        "function": pl.Struct({"name": pl.String(), "arguments": pl.String()}),
    }
)
CALLS = pl.List(CALL)
TEXTS: Mapping[str, pl.DataType] = {"role": pl.String(), "content": pl.String()}
# What a message may have beside its text; a dataset has those that its mapping yields, in this order.
EXTRAS: Mapping[str, pl.DataType] = {
    "weight": pl.Int64(),
    "tool_calls": CALLS,
    "tool_call_id": pl.String(),
    "name": pl.String(),
    "reasoning_content": pl.String(),
}


@dataclass(frozen=True)
class Shape:
    """The name of a shape, and the columns that its Parquet files have; those of `optional` not always."""

    name: str
    columns: pl.Schema
    optional: frozenset[str] = frozenset()

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema that every row of the shape fulfils, its nulls left out."""
        return _json_schema(self.name)


CONVERSATION = Shape(
    "fine_tuning_conversation",
    pl.Schema({"messages": pl.List(pl.Struct({**TEXTS, **EXTRAS})), "tools": pl.String()}),
    frozenset({"tools"}),
)
TEXT = Shape("fine_tuning_text", pl.Schema({"text": pl.String()}))
EXAMPLE_COLUMNS = (*CONVERSATION.columns, *TEXT.columns)


def shape_of(mapping: MappingSpec) -> Shape:
    """The shape of the examples that a mapping makes."""
    return CONVERSATION if mapping.text is None else TEXT


@cache
def _json_schema(name: str) -> dict[str, Any]:
    text = files("orchestrator.data").joinpath(f"shape_schemas/{name}.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
