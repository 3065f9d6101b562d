"""Keep a run's MLflow run up to date; all of it may be cut off anywhere and told again."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from orchestrator import contract
from orchestrator.controller.estimates import estimate_against_actual
from orchestrator.controller.facts import scores
from orchestrator.controller.history import training_seconds
from orchestrator.controller.of_run import run_store, spec_of
from orchestrator.controller.pace import Spacing
from orchestrator.controller.package import newest_config
from orchestrator.db import Database, Listed, Run
from orchestrator.runs import Status
from orchestrator.settings import Settings
from orchestrator.spec.models import Spec
from orchestrator.spec.stored import told
from orchestrator.tracking import DatasetInput, MetricPoint, Tracker

BATCH = 500
REQUESTS_PER_SECOND = 95.0

# How far MLflow has been told: the run exists; its dataset and config are logged; the end.
CREATED, PLANNED = "created", "planned"
_MLFLOW_STATUS: Mapping[Status, Literal["FINISHED", "FAILED", "KILLED"]] = {
    Status.SUCCEEDED: "FINISHED",
    Status.FAILED: "FAILED",
    Status.CANCELLED: "KILLED",
}


@dataclass
class Tracking:
    """Tells MLflow about runs."""

    settings: Settings
    database: Database
    _tracker: Tracker | None = field(default=None, repr=False)
    _making: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def tell(self, run: Run) -> Run:
        """Tell MLflow everything about a run that it does not know yet.

        Raises:
            TrackingAway: it cannot be reached; what it was told before is kept in mind.
            TrackingError: it refuses something of this run.
        """
        if run.mlflow_run is None:
            run = self._create(run)
        if run.tracked == CREATED and "dataset" in run.facts:
            run = self._tell_plan(run)
        self._ship_points(run)
        return self._tell_end(run) if run.status.final and run.tracked != run.status else run

    @property
    def _server(self) -> Tracker:
        with self._making:  # all threads keep to one pace
            if self._tracker is None:
                assert self.settings.mlflow_uri
                self._tracker = Tracker(self.settings.mlflow_uri, Spacing(REQUESTS_PER_SECOND).wait)
            return self._tracker

    def _create(self, run: Run) -> Run:
        spec = spec_of(run)
        tracked = self._server.ensure_run(
            run.id, run.name, experiment_of(run, spec), _tags(run, spec), int(run.created * 1000)
        )
        self._server.log_params(tracked.mlflow_run_id, _params(spec))
        self._server.log_artifact_texts(tracked.mlflow_run_id, {"spec.yaml": run.spec_text})
        return self.database.update(
            run, mlflow_run=tracked.mlflow_run_id, mlflow_url=tracked.url, tracked=CREATED
        )

    def _tell_plan(self, run: Run) -> Run:
        config = newest_config(run_store(run))
        if config is None or run.mlflow_run is None:
            return run
        dataset = contract.open_store(run.storage).read(f"inputs/{run.facts['input_key']}.json")
        texts = {"axolotl.yaml": config, "dataset.json": dataset.decode()}
        self._server.log_artifact_texts(run.mlflow_run, texts)
        self._server.log_inputs(run.mlflow_run, _inputs(run, json.loads(dataset)))
        self._server.log_params(run.mlflow_run, _foreseen(run))
        return self.database.update(run, tracked=PLANNED)

    def _ship_points(self, run: Run) -> None:
        assert run.mlflow_run is not None
        full = True
        while full and (batch := self.database.points_to_ship(run.id, BATCH)):
            full = len(batch) == BATCH
            points = [MetricPoint(p.key, p.step, p.value, int(p.time * 1000)) for p in batch]
            self._server.log_points(run.mlflow_run, points)
            self.database.mark_shipped(run.id, batch)

    def _tell_end(self, run: Run) -> Run:
        assert run.mlflow_run is not None
        self._server.log_summary(run.mlflow_run, _summary(run, self.database))
        tags = {"axo.status": run.status.value} | ({"axo.reason": run.reason.value} if run.reason else {})
        self._server.set_tags(run.mlflow_run, tags)
        self._server.finish(
            run.mlflow_run, _MLFLOW_STATUS[run.status], int((run.ended or run.updated) * 1000)
        )
        return self.database.update(run, tracked=run.status.value)


def experiment_of(run: Run, spec: Spec) -> str:
    """The MLflow experiment of a run: each project but `default` has its own.

    An experiment of `default` may itself be called as another project's are, so it is set apart then.
    """
    if run.project == "default" and "/" not in spec.experiment:
        return spec.experiment
    return f"{run.project}/{spec.experiment}"


def behind(run: Run | Listed, settings: Settings) -> bool:
    """Whether MLflow, where there is one, still lacks something of a run that has ended."""
    return bool(settings.mlflow_uri) and run.status.final and run.tracked != run.status


def _tags(run: Run, spec: Spec) -> dict[str, str]:
    tags = {"axo.name": run.name, "axo.spec_digest": run.spec_digest, "axo.base_model": told(spec.model)}
    if spec.description:
        tags["mlflow.note.content"] = spec.description
    return tags


def _params(spec: Spec) -> dict[str, Any]:
    """The parameters people compare runs by."""
    training = spec.training.model_dump(exclude_none=True, exclude={"early_stopping"})
    adapter = spec.adapter.model_dump(exclude_none=True)
    if spec.adapter.kind == "full":
        adapter = {"kind": "full"}
    return {
        "base_model": told(spec.model),
        "method": spec.method,
        "machine": spec.compute.machine,
        **{f"adapter.{name}": value for name, value in adapter.items()},
        **training,
        **{f"axolotl.{name}": value for name, value in spec.axolotl.items()},
    }


def _inputs(run: Run, dataset: Mapping[str, Any]) -> Sequence[DatasetInput]:
    digest = run.facts["dataset"]
    return [
        DatasetInput(
            name=str(dataset.get("name") or run.name),
            digest=digest,
            context=context,
            source={"sources": dataset.get("sources"), "storage": contract.dataset_key(digest)},
            profile=dict(dataset["splits"][split]),
        )
        for split, context in (("train", "training"), ("validation", "validation"))
        if dataset["splits"].get(split)
    ]


def _foreseen(run: Run) -> dict[str, Any]:
    """What the run was estimated to take when it was first launched."""
    foreseen = run.facts.get("estimate") or {}
    names = ("parameters", "trainable_parameters", "steps", "seconds", "tokens_per_second", "price")
    found = {f"estimate.{name}": foreseen[name] for name in names if foreseen.get(name) is not None}
    memory = foreseen.get("memory_bytes")
    return found | ({"estimate.memory_bytes": memory["total"]} if memory else {})


def _compared(run: Run, database: Database) -> dict[str, float]:
    """Each estimated figure as it came, and how far the estimate was off (0.1 is a tenth too much)."""
    found: dict[str, float] = {}
    for each in estimate_against_actual(database, run):
        name = each.name.replace(" ", "_")
        found |= {f"actual/{name}": each.actual, f"estimate_error/{name}": each.error}
    return found


def _summary(run: Run, database: Database) -> dict[str, float]:
    """Figures of the whole run: waiting, attempts, lost steps, scores."""
    attempts = database.attempts(run.id)
    started = min((a.started for a in attempts if a.started is not None), default=None)
    trained = sum(1.0 for a in attempts if a.started is not None)
    summary = {"run/attempts": trained, "run/lost_steps": float(run.lost_steps)}
    if started is not None:
        summary["run/queue_wait_seconds"] = started - run.created
        summary["run/training_seconds"] = training_seconds(attempts)
    summary |= _compared(run, database)
    for side in ("base", "adapter"):
        summary |= {f"{side}/{metric}": value for metric, value in scores(run.facts, side).items()}
    return summary
