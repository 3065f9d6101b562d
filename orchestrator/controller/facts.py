"""What steps found out, remembered with their run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from orchestrator import contract
from orchestrator.controller.decision import LaunchView
from orchestrator.db import Database, Run

MOST = 1e300  # of a figure


def take_in_facts(database: Database, run: Run, views: Sequence[LaunchView]) -> tuple[Run, list[LaunchView]]:
    """The run with what its launches found out, and the launches as they are to be judged.

    A dataset that somebody deleted before the run could hold it is prepared again: the launch that
    prepared it counts as one that vanished. What preparing found out counts until another step is launched:
    code of a model may then write in the run's folder whatever it likes, and these facts name the folders of
    storage that the next launch is given to read.

    Raises:
        ConflictError: its files are being removed now.
    """
    facts = _facts_of(views)
    if all(run.facts.get(name) == value for name, value in facts.items()):
        return run, list(views)
    if facts.get("dataset") in (None, run.facts.get("dataset")):
        return database.add_facts(run, facts), list(views)
    prepared = max(view.number for view in views if view.step == "prepare" and _succeeded(view))
    if taken := database.take_dataset(run, facts, prepared):
        return taken, list(views)
    return run, [replace(view, outcome=None) if view.number == prepared else view for view in views]


def figure(facts: Mapping[str, Any], name: str) -> float | None:
    """A figure of what a step found out; None where it is no number: code of a model may have written it."""
    value = facts.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < MOST:
        return None
    return float(value)


def scores(facts: Mapping[str, Any], side: str) -> dict[str, float]:
    """What an evaluation measured of a side, `base` or `adapter`, by metric."""
    found = (facts.get("evaluate") or {}).get(side)
    if not isinstance(found, Mapping):
        return {}
    return {str(name): value for name in found if (value := figure(found, name)) is not None}


def _facts_of(views: Sequence[LaunchView]) -> Mapping[str, object]:
    facts: dict[str, object] = {}
    preparing = all(view.step == "prepare" for view in views)
    for view in views:
        if view.outcome is None or not _succeeded(view):
            continue
        if view.step == "prepare":
            facts.update(view.outcome.facts if preparing else {})
        else:
            facts[view.step] = dict(view.outcome.facts)
    return facts


def _succeeded(view: LaunchView) -> bool:
    return view.outcome is not None and view.outcome.result is contract.Result.SUCCESS
