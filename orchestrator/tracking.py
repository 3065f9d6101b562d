"""One MLflow run per run of ours: made once, told everything, whatever MLflow or we went through.

Every call may be repeated: after a crash, a timeout or an outage the caller tells the same again
and MLflow holds it once. A metric point is (key, step, time, value), so a replay with the record's
own times changes nothing on the server.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from orchestrator import mlflow_client
from orchestrator.errors import TrackingError

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

RUN_TAG = "axo.run_id"
KEPT_TAG = "axo.kept"

# Limits of one request and of its values: mlflow/utils/validation.py.
POINTS_PER_REQUEST = 500
PARAMS_PER_REQUEST = 100
TAGS_PER_REQUEST = 100
KEY_CHARACTERS = 250
PARAM_CHARACTERS = 6000
TAG_CHARACTERS = 8000
DIGEST_CHARACTERS = 36

Item = TypeVar("Item")
_NOT_IN_A_KEY = re.compile(r"[^\w.\- :/]")


class TrackingAway(TrackingError):
    """MLflow cannot be reached."""


@dataclass(frozen=True)
class TrackedRun:
    """A run as MLflow knows it; `url` is its page."""

    mlflow_run_id: str
    experiment_id: str
    url: str


@dataclass(frozen=True)
class MetricPoint:
    """One value of one metric at one step, at a time in milliseconds since 1970."""

    key: str
    step: int
    value: float
    time_ms: int


@dataclass(frozen=True)
class DatasetInput:
    """What a run was trained on, or held out: `context` says which."""

    name: str
    digest: str
    context: str = "training"
    source: Mapping[str, Any] = field(default_factory=dict)
    profile: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tracker:
    """The MLflow server at `uri`. Every method raises TrackingError, soon, where it is away or refuses.

    `pace` is called before each request, and returns when that may be sent.
    """

    uri: str
    pace: Callable[[], object] = field(default=lambda: None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "uri", mlflow_client.checked_uri(self.uri, TrackingError))

    def check(self) -> None:
        """Whether the server answers an API call; its /health proves nothing about those."""
        with self._translated():
            self._client.search_experiments(max_results=1)

    def ensure_run(
        self, run_id: str, name: str, experiment: str, tags: Mapping[str, str], started_ms: int
    ) -> TrackedRun:
        """The one MLflow run of `run_id`, made if there is none; restored if somebody deleted it.

        A create that timed out may arrive at the server later, so that two exist. The first one
        ever returned from here is marked and kept; others are deleted and lose their mark.
        """
        with self._translated():
            experiment_id = self._experiment(experiment)
            found = self._find(experiment_id, run_id)
            if not found:
                made = self._client.create_run(
                    experiment_id, started_ms, {**_clip_tags(tags), RUN_TAG: run_id}, name
                )
                found = self._find(experiment_id, run_id) or [made]
            kept = self._keep_one(found)
            return TrackedRun(kept, experiment_id, self.run_url(experiment_id, kept))

    def run_url(self, experiment_id: str, mlflow_run_id: str) -> str:
        server = mlflow_client.public_uri(self.uri)
        return f"{server}/#/experiments/{experiment_id}/runs/{mlflow_run_id}"

    def log_params(self, mlflow_run_id: str, params: Mapping[str, object]) -> None:
        """Log parameters; the same value again is fine, another value for one of them is refused."""
        from mlflow.entities import Param

        found = [Param(metric_key(key), _param_text(value)) for key, value in sorted(params.items())]
        for batch in _batches(found, PARAMS_PER_REQUEST):
            self._write(mlflow_run_id, params=batch)

    def set_tags(self, mlflow_run_id: str, tags: Mapping[str, str]) -> None:
        """Set tags; a later value replaces an earlier one."""
        from mlflow.entities import RunTag

        found = [RunTag(metric_key(key), value) for key, value in _clip_tags(tags).items()]
        for batch in _batches(found, TAGS_PER_REQUEST):
            self._write(mlflow_run_id, tags=batch)

    def log_points(self, mlflow_run_id: str, points: Sequence[MetricPoint]) -> None:
        """Log metric points; those that MLflow has already change nothing.

        A value that is no number shows as NaN; infinities become the largest float of their sign.
        """
        from mlflow.entities import Metric

        found = [Metric(metric_key(p.key), p.value, p.time_ms, p.step) for p in points]
        for batch in _batches(found, POINTS_PER_REQUEST):
            self._write(mlflow_run_id, metrics=batch)

    def log_summary(self, mlflow_run_id: str, values: Mapping[str, float]) -> None:
        """Log figures of the whole run, one point each: at step 0 and at the time the run started, so
        that the same figure again is the same point."""
        with self._translated():
            started_ms = self._client.get_run(mlflow_run_id).info.start_time
        self.log_points(
            mlflow_run_id, [MetricPoint(key, 0, value, started_ms) for key, value in sorted(values.items())]
        )

    def log_inputs(self, mlflow_run_id: str, datasets: Sequence[DatasetInput]) -> None:
        """Log what the run was trained on; the same dataset again is fine."""
        found = [_dataset_input(dataset) for dataset in datasets]
        self._alive(mlflow_run_id, lambda: self._client.log_inputs(mlflow_run_id, datasets=found))

    def log_artifact_texts(self, mlflow_run_id: str, texts: Mapping[str, str]) -> None:
        """Put small text files beside the run, each under its path; the same path is replaced."""
        with self._translated(), tempfile.TemporaryDirectory(prefix="axo-mlflow-") as scratch:
            self.pace()
            artifacts = mlflow_client.open_artifacts(self.uri, mlflow_run_id)
            for path, text in texts.items():
                self.pace()
                folder, _, name = path.rpartition("/")
                file = Path(scratch) / name
                file.write_text(text, encoding="utf-8")
                mlflow_client.upload(artifacts, file, folder or None)

    def finish(
        self, mlflow_run_id: str, status: Literal["FINISHED", "FAILED", "KILLED"], ended_ms: int
    ) -> None:
        """Set the end of the run; a later call replaces an earlier one."""
        self._alive(
            mlflow_run_id, lambda: self._client.set_terminated(mlflow_run_id, status, end_time=ended_ms)
        )

    @property
    def _client(self) -> MlflowClient:
        """The client for one request."""
        self.pace()
        return mlflow_client.open_client(self.uri)

    def _translated(self) -> AbstractContextManager[None]:
        return mlflow_client.translated(self.uri, away=TrackingAway, refused=TrackingError)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            return self._create_experiment(name)
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)

    def _create_experiment(self, name: str) -> str:
        try:
            return str(self._client.create_experiment(name))
        except Exception as error:
            if not mlflow_client.was_refused_as(error, "RESOURCE_ALREADY_EXISTS"):
                raise
            return str(self._client.get_experiment_by_name(name).experiment_id)

    def _find(self, experiment_id: str, run_id: str) -> list[Run]:
        from mlflow.entities import ViewType

        query = f"tags.`{RUN_TAG}` = '{run_id}'"
        return list(self._client.search_runs([experiment_id], query, ViewType.ALL, max_results=100))

    def _keep_one(self, found: list[Run]) -> str:
        kept, *others = sorted(found, key=_precedence)
        for other in others:
            if other.info.lifecycle_stage == "deleted":
                self._client.restore_run(other.info.run_id)
            self._client.delete_tag(other.info.run_id, RUN_TAG)
            self._client.delete_run(other.info.run_id)
        if kept.info.lifecycle_stage == "deleted":
            self._client.restore_run(kept.info.run_id)
        if KEPT_TAG not in kept.data.tags:
            self._client.set_tag(kept.info.run_id, KEPT_TAG, "true")
        return str(kept.info.run_id)

    def _write(self, mlflow_run_id: str, **batch: list[Any]) -> None:
        self._alive(mlflow_run_id, lambda: self._client.log_batch(mlflow_run_id, synchronous=True, **batch))

    def _alive(self, mlflow_run_id: str, write: Callable[[], object]) -> None:
        """Write to a run; one that somebody deleted meanwhile is restored first."""
        with self._translated():
            try:
                write()
            except Exception as error:
                if not mlflow_client.was_refused_as(error, "INVALID_PARAMETER_VALUE", "'active' state"):
                    raise
                self._client.restore_run(mlflow_run_id)
                write()


def metric_key(key: str) -> str:
    """A key as MLflow takes it: its characters, no longer than 250, never a path to elsewhere."""
    clean = _NOT_IN_A_KEY.sub("_", key)[:KEY_CHARACTERS]
    return "/".join(part for part in clean.split("/") if part not in ("", ".", "..")) or "_"


def _precedence(run: Run) -> tuple[bool, bool, str]:
    return (KEPT_TAG not in run.data.tags, run.info.lifecycle_stage == "deleted", run.info.run_id)


def _clip_tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: value[:TAG_CHARACTERS] for key, value in tags.items()}


def _param_text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return text[:PARAM_CHARACTERS]


def _dataset_input(dataset: DatasetInput) -> Any:
    """MLflow's own form. It tells datasets apart by name and digest only, so what is held out of one
    dataset needs a name of its own."""
    from mlflow.entities import Dataset, InputTag
    from mlflow.entities import DatasetInput as MlflowInput

    name = dataset.name if dataset.context == "training" else f"{dataset.name} ({dataset.context})"
    source, profile = (json.dumps(value, sort_keys=True) for value in (dataset.source, dataset.profile))
    return MlflowInput(
        Dataset(name, dataset.digest[:DIGEST_CHARACTERS], "axo", source, profile=profile),
        [InputTag("mlflow.data.context", dataset.context)],
    )


def _batches(items: Sequence[Item], size: int) -> Iterator[list[Item]]:
    starts: Iterable[int] = range(0, len(items), size)
    return (list(items[start : start + size]) for start in starts)
