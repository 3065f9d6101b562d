"""What changed between a run and what would be run now: spec, data, config, estimate."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.compare import differing, flat
from orchestrator.cli.output import age, cut_inside
from orchestrator.cli.shown import size, span

if TYPE_CHECKING:
    from orchestrator.preview import Preview
    from orchestrator.wire import RunDetail

Changes = dict[str, dict[str, list[Any]]]
_COUNTED = ("rows", "tokens", "trained_tokens")
_FORESEEN = ("parameters", "trainable_parameters", "steps", "seconds", "price", "checkpoint_bytes")
_WIDEST_VALUE = 60
_ONE_LINE = 70


def changes(planned: Preview, run: RunDetail, config: str | None) -> Changes:
    """Old and new value of what differs, by section; None where one side has no such value. `config` is
    the Axolotl config that the run was launched with, if it was."""
    return {
        "spec": _spec(planned, run),
        "dataset": _pairs(_rows(run.facts.get("splits") or {}), _rows(planned.splits)),
        "config": _config(planned, config),
        "estimate": _estimate(planned, run),
    }


def described(planned: Preview, run: RunDetail, found: Changes) -> str:
    """The changes as lines: `-` what the run had, `+` what it would have now."""
    head = f"{planned.loaded.path} against {run.id} ({run.status}, {age(time.time() - run.created)} ago)"
    sections = [_section(name, rows) for name, rows in found.items() if rows]
    return "\n\n".join([head, *(sections or ["nothing changed"])])


def _section(name: str, rows: Mapping[str, list[Any]]) -> str:
    lines = [click.style(name, bold=True)]
    for key, (old, new) in rows.items():
        both = [None if value is None else _text(key, value) for value in (old, new)]
        if all(both) and len(key) + sum(len(text or "") for text in both) < _ONE_LINE:
            lines.append(f"  {key}: {both[0]} -> {both[1]}")
            continue
        lines += [click.style(f"- {key}: {both[0]}", fg="red")] if both[0] else []
        lines += [click.style(f"+ {key}: {both[1]}", fg="green")] if both[1] else []
    return "\n".join(lines)


def _spec(planned: Preview, run: RunDetail) -> dict[str, list[Any]]:
    now = planned.loaded.spec.model_dump(mode="json")
    return _pairs(flat(run.spec), flat(now))


def _rows(splits: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{split}.{name}": figures[name] for split, figures in splits.items() for name in _COUNTED}


def _config(planned: Preview, text: str | None) -> dict[str, list[Any]]:
    """Axolotl keys; those that stand in the spec under another name are told here too."""
    from orchestrator.spec.yaml import read_yaml

    if text is None:
        return {}
    before = read_yaml(text.encode(), "axolotl.yaml").value or {}
    return _pairs(flat(before), flat(planned.config.keys))


def _estimate(planned: Preview, run: RunDetail) -> dict[str, list[Any]]:
    before = run.facts.get("estimate")
    if not before or planned.estimate is None:
        return {}
    now = planned.estimate.to_dict()

    def told(each: Mapping[str, Any]) -> dict[str, Any]:
        return {**{name: each.get(name) for name in _FORESEEN}, "memory_bytes": each["memory_bytes"]["total"]}

    return _pairs(told(before), told(now))


def _pairs(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    return {key: list(values) for key, values in differing([before, now]).items()}


def _text(key: str, value: Any) -> str:
    if key.endswith("_bytes"):
        return size(value)
    if key == "seconds":
        return span(value)
    shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return cut_inside(" ".join(shown.split()), _WIDEST_VALUE)
