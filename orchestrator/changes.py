"""What changed between a run and what would be run now: spec, dataset, config, estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Changes = dict[str, dict[str, list[Any]]]
Rows = dict[str, list[Any]]
_COUNTED = ("rows", "tokens", "trained_tokens")
_FORESEEN = ("parameters", "trainable_parameters", "steps", "seconds", "price", "checkpoint_bytes")


@dataclass(frozen=True)
class Foreseen:
    """What would be run, as plain data."""

    spec: Mapping[str, Any]
    splits: Mapping[str, Mapping[str, Any]]
    config: Mapping[str, Any]
    estimate: Mapping[str, Any] | None = None


def changes(now: Foreseen, spec: Mapping[str, Any], facts: Mapping[str, Any], config: str | None) -> Changes:
    """Old and new value of what differs, by section and by dotted keys; None where one side has no such
    value. `spec` and `facts` are those of the run, `config` is the Axolotl config that it was launched
    with, if it was."""
    return {
        "spec": _pairs(_as_named(flat(spec), flat(now.spec)), flat(now.spec)),
        "dataset": _pairs(_rows(facts.get("splits") or {}), _rows(now.splits)),
        "config": _config(now, config),
        "estimate": _estimate(now, facts),
    }


def differing(facts: Sequence[Mapping[str, Any]], whole: bool = False) -> Rows:
    """The facts that are not the same everywhere; None where one has no such fact."""
    keys = dict.fromkeys(key for each in facts for key in each)
    rows = {key: [each.get(key) for each in facts] for key in keys}
    return {key: values for key, values in rows.items() if whole or any(v != values[0] for v in values)}


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """What is given in nested mappings and lists, by dotted keys: `training.epochs`, `publish[0].mlflow`."""
    found: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            found |= flat(inner, f"{prefix}{key}.")
        elif isinstance(inner, list) and inner and all(isinstance(entry, Mapping) for entry in inner):
            for index, entry in enumerate(inner):
                found |= flat(entry, f"{prefix}{key}[{index}].")
        elif inner is not None and inner != []:
            found[f"{prefix}{key}"] = inner
    return found


def _as_named(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """What was uploaded, by the path that it has now where that ends with its name; unless the present
    value is an address too, which tells more."""
    return {key: _named(value, now.get(key)) for key, value in before.items()}


def _named(value: Any, now: Any) -> Any:
    from orchestrator.uploads import parse_address

    upload = parse_address(value) if isinstance(value, str) else None
    if upload is None or not isinstance(now, str) or parse_address(now):
        return value
    return now if now.rstrip("/").rpartition("/")[2] == upload.name else upload.name


def _rows(splits: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{split}.{name}": figures[name] for split, figures in splits.items() for name in _COUNTED}


def _config(now: Foreseen, text: str | None) -> Rows:
    """Axolotl keys; those that stand in the spec under another name are told here too."""
    from orchestrator.spec.yaml import read_yaml

    if text is None:
        return {}
    before = read_yaml(text.encode(), "axolotl.yaml").value or {}
    return _pairs(flat(before), flat(now.config))


def _estimate(now: Foreseen, facts: Mapping[str, Any]) -> Rows:
    before = facts.get("estimate")
    return _pairs(_told(before), _told(now.estimate)) if before and now.estimate else {}


def _told(estimate: Mapping[str, Any]) -> dict[str, Any]:
    memory = estimate["memory_bytes"]["total"]
    return {**{name: estimate.get(name) for name in _FORESEEN}, "memory_bytes": memory}


def _pairs(before: Mapping[str, Any], now: Mapping[str, Any]) -> Rows:
    return differing([before, now])
