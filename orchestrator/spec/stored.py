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


def base_told(model: str, revision: str | None) -> str:
    """A base model that was found, as people know it, wherever it lay: of the hub its id at the `revision`,
    of a folder its own name."""
    return at_revision(model, revision) if revision else told(model).rstrip("/").rpartition("/")[2]


def base_named(model: str, revision: str | None, digest: str) -> str:
    """What an adapter calls its base, so that the same training gives the same bytes wherever it ran: of the
    hub its id at the `revision`, of a folder the digest of what is in it."""
    return at_revision(model, revision) if revision else f"sha256:{digest}"


def at_revision(model: str, revision: str) -> str:
    """A base model of the hub, at the revision that was found for it."""
    return f"{model.partition('@')[0]}@{revision}"
