"""The fields of a spec that name places: sources of rows, the base model, an adapter to go on from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from orchestrator.spec.models import ModelEntry, SourceEntry, Spec

BASE_MODEL, ADAPTER = "base_model", "adapter.continue_from"
_Entry = TypeVar("_Entry", SourceEntry, ModelEntry)


def places(spec: Spec) -> dict[str, str]:
    """What stands in each such field: a path, a URL, an id of a hub or of a run."""
    found = {field: entry.source for field, entry in spec.dataset.entries}
    found[BASE_MODEL] = spec.model
    if spec.adapter.continue_from is not None:
        found[ADAPTER] = spec.adapter.continue_from
    return found


def replaced(spec: Spec, changes: Mapping[str, str]) -> Spec:
    """The spec with other places in some of these fields, everything said beside them kept."""
    if not changes:
        return spec
    dataset = spec.dataset
    source = (
        [_changed(one, changes.get(f"dataset.source[{number}]")) for number, one in enumerate(dataset.source)]
        if isinstance(dataset.source, list)
        else _changed(dataset.source, changes.get("dataset.source"))
    )
    held_out = dataset.validation
    if not isinstance(held_out, float | None):
        held_out = _changed(held_out, changes.get("dataset.validation"))
    adapter = spec.adapter
    if ADAPTER in changes:
        adapter = adapter.model_copy(update={"continue_from": changes[ADAPTER]})
    return spec.model_copy(
        update={
            "dataset": dataset.model_copy(update={"source": source, "validation": held_out}),
            "base_model": _changed(spec.base_model, changes.get(BASE_MODEL)),
            "adapter": adapter,
        }
    )


def _changed(one: str | _Entry, place: str | None) -> str | _Entry:
    if place is None:
        return one
    return place if isinstance(one, str) else one.model_copy(update={"source": place})
