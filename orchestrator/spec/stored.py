"""What is read of a spec as it was stored, JSON, without the models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.uploads import parse_address


def model_of(spec: Mapping[str, Any]) -> str:
    """The base model's folder or hub id; of an uploaded one the name."""
    return model_named(spec["base_model"])


def model_named(model: Any) -> str:
    """The same, of what a spec says under `base_model`."""
    return told(str(model["source"] if isinstance(model, dict) else model))


def told(place: str) -> str:
    """A place as people know it: of an upload only its name."""
    upload = parse_address(place)
    return upload.name if upload else place
