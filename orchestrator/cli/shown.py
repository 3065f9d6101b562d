"""A run as commands show it: plain data for programs, a few lines for people."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orchestrator.cli.output import duration, sparkline
from orchestrator.spec.stored import model_of

GIB = 1024**3

if TYPE_CHECKING:
    from orchestrator.db import Point, Run
    from orchestrator.service import Service


def summary(service: Service, run: Run) -> dict[str, Any]:
    """One run as plain data; the schema of `-o json`."""
    from orchestrator.controller.estimates import estimate_against_actual
    from orchestrator.runs import REASONS

    attempts = service.database.attempts(run.id)
    newest, progress = progress_of(service, run)
    return {
        "id": run.id,
        "name": run.name,
        "status": run.status.value,
        "intent": run.intent.value,
        "reason": run.reason.value if run.reason else None,
        "advice": REASONS[run.reason].advice if run.reason else None,
        "message": run.message or None,
        "created": run.created,
        "ended": run.ended,
        "base_model": model_of(run.spec),
        "progress": progress,
        "loss": newest.value if newest else None,
        "attempts": sum(1 for a in attempts if a.started is not None),
        "lost_steps": run.lost_steps,
        "model": run.facts.get("model"),
        "dataset": run.facts.get("dataset"),
        "evaluation": run.facts.get("evaluate"),
        "estimate": run.facts.get("estimate"),
        "estimate_against_actual": [asdict(each) for each in estimate_against_actual(service.database, run)],
        "mlflow": run.mlflow_url,
        "published": [
            {"registry": p.registry, "reference": p.reference, "digest": p.digest, "url": p.url}
            for p in service.database.publications(run.id)
        ],
    }


def progress_of(service: Service, run: Run) -> tuple[Point | None, str | None]:
    """The newest loss, and `step/total`; None before the first step."""
    newest = service.database.newest_point(run.id, "loss")
    return newest, f"{newest.step}/{total_steps(service, run)}" if newest else None


def total_steps(service: Service, run: Run) -> int:
    """Optimizer steps of the whole run as its trainer counted them; 0 before it did."""
    return max((attempt.total_steps or 0 for attempt in service.database.attempts(run.id)), default=0)


def estimate_rows(service: Service, run: Run) -> list[dict[str, str]]:
    """What a run was estimated to take beside what it took, once it has."""
    from orchestrator.controller.estimates import estimate_against_actual

    return [
        {
            "FIGURE": each.name,
            "ESTIMATE": _figure(each.name, each.estimate),
            "ACTUAL": _figure(each.name, each.actual),
            "ERROR": f"{each.error:+.0%}",
        }
        for each in estimate_against_actual(service.database, run)
    ]


def _figure(name: str, value: float) -> str:
    return size(value) if name == "peak memory" else f"{value:,.0f}"


def state_fields(service: Service, run: Run) -> dict[str, str | None]:
    """How a run stands: status and reason, progress, figures, where it is published."""
    facts = summary(service, run)
    losses = service.database.points(run.id, "loss")
    return {
        "run": run.id,
        "status": run.status.value,
        "reason": reason_of(run),
        "message": run.message or None,
        "to do": facts["advice"] or None,
        "base model": facts["base_model"],
        "progress": facts["progress"],
        "loss": course(losses) if losses else None,
        "attempts": str(facts["attempts"]) if facts["attempts"] else None,
        "lost steps": str(run.lost_steps) if run.lost_steps else None,
        "took": duration(run.ended - run.created) if run.ended else None,
        "mlflow": run.mlflow_url,
        **_scores(facts["evaluation"]),
        **{f"published {i + 1}": p["reference"] for i, p in enumerate(facts["published"])},
    }


def reason_of(run: Run) -> str | None:
    """Why a run is where it is, in a sentence."""
    from orchestrator.runs import REASONS

    return f"{run.reason.value}: {REASONS[run.reason].sentence}" if run.reason else None


def course(points: Sequence[Point], bars: int = 24) -> str:
    """First and last value of a metric, and its course between them."""
    values = [point.value for point in points]
    if len(values) == 1:
        return f"{values[0]:.4g}"
    return f"{values[0]:.4g} to {values[-1]:.4g}  {sparkline(values, bars)}"


def next_commands(run: Run, *, published: bool = False) -> dict[str, str]:
    """What can be done with a run as it stands: a command, and what it is for."""
    from orchestrator.runs import Status

    if run.status is Status.SUCCEEDED:
        verify = {f"axo verify {run.id}": "re-read what was published"} if published else {}
        return {
            f"axo pull {run.id}": "fetch the adapter and the command that serves it",
            **verify,
            f"axo clone {run.id}": "write its spec to change it",
        }
    if run.status.final:
        return {f"axo logs {run.id}": "its last words", f"axo clone {run.id}": "write its spec to change it"}
    if run.status is Status.PAUSED:
        return {f"axo resume {run.id}": "go on from its newest checkpoint"}
    return {
        f"axo get {run.id} -w": "watch it",
        f"axo logs {run.id} -f": "follow what it prints",
        f"axo pause {run.id}": "save a checkpoint and stop for now",
    }


def moment(seconds: float) -> str:
    """A time as text, in UTC to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def elapsed(started: float, ended: float | None) -> str:
    """How long something took, or has taken until now."""
    return duration((time.time() if ended is None else ended) - started)


def _scores(evaluation: Mapping[str, Any] | None) -> dict[str, str]:
    if not evaluation:
        return {}
    base, adapter = evaluation["base"], evaluation["adapter"]
    return {
        "exact match": f"base {base['exact_match']:.1%}, adapter {adapter['exact_match']:.1%}",
        "held-out loss": f"base {base['loss']:.4f}, adapter {adapter['loss']:.4f}",
    }


def size(value: float) -> str:
    """Bytes in the unit that gives one to three digits before the point."""
    for factor, unit in ((GIB, "GiB"), (1024**2, "MiB")):
        if value >= factor:
            return f"{value / factor:.{1 if value < 100 * factor else 0}f} {unit}"
    return f"{value / 1024:.0f} KiB"


def count(number: int) -> str:
    """A number of parameters as people say it: 7.2 B, 0.6 M."""
    for factor, unit in ((10**9, "B"), (10**6, "M")):
        if number >= 0.5 * factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number:,}"


def span(seconds: float) -> str:
    """How long, roughly: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
