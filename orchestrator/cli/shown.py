"""A run as commands show it: plain data for programs, a few lines for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from orchestrator.cli.output import sparkline
from orchestrator.cli.units import duration, short, size, to_the_minute

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.wire import Figure, Point, Run, RunDetail


def summary(run: Run) -> dict[str, Any]:
    """One run as plain data, as the API tells it; the schema of `-o json`."""
    return {
        **run.model_dump(mode="json", exclude={"spec", "spec_text", "facts"}),
        "progress": progress_of(run),
    }


def progress_of(run: Run) -> str | None:
    """`step/total`; None before the first step."""
    return f"{run.step}/{run.total_steps or 0}" if run.step is not None else None


def estimate_rows(run: RunDetail) -> list[dict[str, str]]:
    """What a run was estimated to take beside what it took, once it has."""
    return [
        {
            "FIGURE": each.name,
            "ESTIMATE": _foreseen(each),
            "ACTUAL": _figure(each.name, each.actual),
            "ERROR": "in range" if _in_range(each) else f"{each.error:+.0%}",
        }
        for each in run.estimate_against_actual
    ]


def _in_range(each: Figure) -> bool:
    return _is_range(each) and each.estimate <= each.actual <= (each.at_most or 0)


def _foreseen(each: Figure) -> str:
    least = _figure(each.name, each.estimate)
    return f"{least}..{_figure(each.name, each.at_most or 0)}" if _is_range(each) else least


def _is_range(each: Figure) -> bool:
    return each.at_most is not None and each.at_most > each.estimate


def _figure(name: str, value: float) -> str:
    return size(value) if name == "peak memory" else f"{value:,.0f}"


def state_fields(client: Client, run: RunDetail) -> dict[str, str | None]:
    """How a run stands: status and reason, progress, figures, where it is published."""
    losses = client.metrics(run.id, "loss")["loss"]
    return {
        "run": run.id,
        "status": run.status.value,
        "reason": reason_of(run),
        "message": run.message or None,
        "to do": run.advice or None,
        "base model": run.base_model,
        "progress": progress_of(run),
        "loss": course(losses) if losses else None,
        "attempts": str(run.attempts) if run.attempts else None,
        "lost steps": str(run.lost_steps) if run.lost_steps else None,
        "metrics left out": _left_out(run),
        "kept": _kept(run),
        "took": duration(run.ended - run.created) if run.ended else None,
        "mlflow": run.mlflow,
        **_scores(run.evaluation),
        **{f"published {i + 1}": each.reference for i, each in enumerate(run.published)},
    }


def _left_out(run: RunDetail) -> str | None:
    """How many points there were beyond as many as are kept."""
    return f"{run.points_left_out:,} points; its record in storage has them" if run.points_left_out else None


def _kept(run: Run) -> str | None:
    """Until when its files are there, where that is not for as long as anybody likes."""
    if run.expired is not None:
        return f"until {to_the_minute(run.expired)}: its adapter and checkpoints are gone"
    if run.pinned:
        return "pinned"
    if run.expires is not None:
        return f"until {to_the_minute(run.expires)}; `axo models pin {run.id}` keeps its files"
    return "temporary" if run.temporary else None


def reason_of(run: Run) -> str | None:
    """Why a run is where it is, in a sentence."""
    return f"{run.reason.value}: {run.sentence}" if run.reason else run.sentence


def course(points: Sequence[Point], bars: int = 24) -> str:
    """First and last value of a metric, and its course between them."""
    values = [point.value for point in points]
    if len(values) == 1:
        return short(values[0])
    return f"{short(values[0])} to {short(values[-1])}  {sparkline(values, bars)}"


def next_commands(run: Run, *, published: bool = False) -> dict[str, str]:
    """What can be done with a run as it stands: a command, and what it is for."""
    from orchestrator.reasons import Reason
    from orchestrator.runs import Status

    if run.status is Status.SUCCEEDED:
        verify = {f"axo verify {run.id}": "re-read what was published"} if published else {}
        pull = {f"axo pull {run.id}": "fetch the adapter and the command that serves it"}
        return {
            **({} if run.expired else pull),
            **verify,
            f"axo clone {run.id}": "write its spec to change it",
        }
    if run.reason is Reason.REGISTRY_REFUSED:
        return {
            f"axo publish {run.id}": "try again, once that is mended",
            f"axo pull {run.id}": "fetch the adapter, which is whole",
        }
    if run.status.final:
        return {f"axo logs {run.id}": "its last words", f"axo clone {run.id}": "write its spec to change it"}
    if run.status is Status.PAUSED:
        return {f"axo resume {run.id}": "go on from its newest checkpoint"}
    if run.status is Status.PUBLISHING and run.reason:
        return {
            f"axo publish {run.id}": "try again at once",
            f"axo pull {run.id}": "fetch the adapter, which is whole",
        }
    return {
        f"axo get {run.id} -w": "watch it",
        f"axo logs {run.id} -f": "follow what it prints",
        f"axo pause {run.id}": "save a checkpoint and stop for now",
    }


def _scores(evaluation: Mapping[str, Any] | None) -> dict[str, str]:
    if not evaluation:
        return {}
    base, adapter = evaluation["base"], evaluation["adapter"]
    return {
        "exact match": f"base {base['exact_match']:.1%}, adapter {adapter['exact_match']:.1%}",
        "held-out loss": f"base {base['loss']:.4f}, adapter {adapter['loss']:.4f}",
    }
