"""The estimate of a run, recorded when it is launched, and what came of it in the end."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator import contract
from orchestrator.axolotl.render import Config
from orchestrator.controller.facts import figure
from orchestrator.db import Database, Run
from orchestrator.estimate import Estimate, estimate
from orchestrator.estimate.model import staged_model
from orchestrator.estimate.speed import STARTUP_SECONDS, Rate
from orchestrator.estimate.workload import Lengths
from orchestrator.machines import Machine
from orchestrator.spec.stored import model_of

EARLIER_RUNS = 50


@dataclass(frozen=True)
class Compared:
    """One figure as it was foreseen and as it came: bytes, seconds, tokens a second or steps.

    `at_most` is the end of the range that was foreseen, where one was.
    """

    name: str
    estimate: float
    actual: float
    at_most: float | None = None

    @property
    def error(self) -> float:
        """How far the estimate was off: 0.1 is a tenth too much; of a range what lies nearest counts."""
        nearest = max(self.estimate, min(self.actual, self.at_most or self.estimate))
        return nearest / self.actual - 1 if self.actual else 0.0


def estimate_launch(
    database: Database, run: Run, config: Config, machine: Machine, storage: contract.Store
) -> Estimate | None:
    """The estimate of a run about to be launched; None where its base model is of an unknown kind."""
    model = staged_model(storage, contract.model_key(run.facts["model"]))
    splits = run.facts.get("splits") or {}
    if model is None or "train" not in splits:
        return None
    lengths = Lengths.of_split(splits["train"])
    measured = measured_rate(database, run.project, run.spec, machine)
    return estimate(model, config.keys, lengths, machine, steps=config.steps, measured=measured)


def measured_rate(database: Database, project: str, spec: Mapping[str, Any], machine: Machine) -> Rate | None:
    """The rate of the project's newest finished run of the same base model, trained the same way on the
    machine; what other projects train is not theirs to see."""
    for run in database.finished_on(machine.name, project, EARLIER_RUNS):
        if _way(run.spec) == _way(spec):
            rate = _tokens_per_second(database, run)
            if rate:
                loading = figure(run.facts["train"], "loading_seconds") or STARTUP_SECONDS[machine.device]
                return Rate(rate, "measured", loading)
    return None


def estimate_against_actual(database: Database, run: Run) -> list[Compared]:
    """Estimate and actual of a finished run, figure by figure; empty where either is not known."""
    foreseen, trained = run.facts.get("estimate"), run.facts.get("train")
    if not foreseen or not trained:
        return []
    gpu = figure(trained, "peak_gpu_memory_bytes")
    memory = foreseen["memory_bytes"]
    # PyTorch counts what it gave out; context, workspaces and fragments are not in its figure.
    foreseen_memory = memory["total"] - memory["overhead"] if gpu else memory["total"]
    startup, training = figure(trained, "loading_seconds"), figure(trained, "training_seconds")
    figures = {
        "peak memory": (foreseen_memory, gpu or figure(trained, "peak_memory_bytes")),
        "steps": (foreseen["steps"], _last_step(database, run)),
        "seconds": (foreseen["seconds"], (startup or 0) + training if training else None),
        "tokens per second": (foreseen["tokens_per_second"], _tokens_per_second(database, run)),
    }
    most = {"seconds": foreseen.get("seconds_at_most")}
    return [Compared(name, float(e), float(a), most.get(name)) for name, (e, a) in figures.items() if a]


def _way(spec: Mapping[str, Any]) -> tuple[Any, ...]:
    """What decides a machine's rate, as far as a spec says it."""
    training, adapter = spec["training"], spec["adapter"]
    return (
        model_of(spec),
        spec["method"],
        adapter["kind"],
        training["packing"],
        training["sequence_len"],
        training.get("micro_batch_size"),
    )


def _tokens_per_second(database: Database, run: Run) -> float | None:
    """The median over the steps but the first, which warms up."""
    values = [point.value for point in database.points(run.id, "tokens_per_second")]
    return statistics.median(values[1:] or values) if values else None


def _last_step(database: Database, run: Run) -> int | None:
    point = database.newest_point(run.id, "loss")
    return point.step if point else None
