"""The first rows of a dataset as they will be trained, for people to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from orchestrator.data.conversation import TrainingRules, without_nulls
from orchestrator.data.lengths import TOKENS, TRAINED
from orchestrator.data.shapes import EXAMPLE_COLUMNS
from orchestrator.spec.secrets import redact


@dataclass(frozen=True)
class Sample:
    """One row: the example as its shape has it, without nulls, nor what looks like a secret; for each of its
    messages whether it is trained (none for plain text, which is trained whole); its tokens, and those
    trained, where they were counted."""

    example: Mapping[str, Any]
    trained: tuple[bool, ...]
    tokens: int | None
    trained_tokens: int | None


def samples(rows: pl.LazyFrame, rules: TrainingRules) -> tuple[Sample, ...]:
    """Samples of rows in their shape's columns beside `tokens` and `trained`."""
    return tuple(_sample(row, rules) for row in rows.collect(engine="streaming").to_dicts())


def _sample(row: Mapping[str, Any], rules: TrainingRules) -> Sample:
    example = _redacted(without_nulls({name: row[name] for name in EXAMPLE_COLUMNS if name in row}))
    trained = tuple(_trains(message, rules) for message in example.get("messages", ()))
    return Sample(example, trained, row[TOKENS], row[TRAINED])


def _redacted(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _redacted(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_redacted(entry) for entry in value]
    return redact(value) if isinstance(value, str) else value


def _trains(message: Mapping[str, Any], rules: TrainingRules) -> bool:
    weight = message.get("weight") if rules.weights else None
    return bool(weight) if weight is not None else rules.trains(message["role"])
