"""What is read of a spec as it was stored, JSON, without the models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def model_of(spec: Mapping[str, Any]) -> str:
    """The base model's folder or hub id."""
    model = spec["base_model"]
    return str(model["source"] if isinstance(model, dict) else model)
