"""MLflow and its registry as files in a folder, so that what they were told outlives whoever told it.

While the file `refuse` is there, the registry takes nothing; `deaf` has MLflow refuse to hear once;
`tampered` has what was published be something else until it is pushed again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.errors import RegistryError
from orchestrator.registries import Package, Published
from orchestrator.tracking import DatasetInput, MetricPoint, TrackedRun

PLACE = Path()


def _said(kind: str, **what: Any) -> None:
    with (PLACE / "mlflow.jsonl").open("a") as file:
        file.write(json.dumps({"kind": kind, **what}) + "\n")


def heard(place: Path) -> list[dict[str, Any]]:
    """Everything that was said, in order."""
    file = place / "mlflow.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


class TrackerTwin:
    """Keeps one MLflow run for each run, as the real tracker does by a tag, and the points as they come."""

    def __init__(self, uri: str, pace: object = None) -> None:
        self.uri = uri

    def ensure_run(self, run_id: str, *_: object) -> TrackedRun:
        made = PLACE / f"mlflow-{run_id}"
        if not made.exists():
            made.touch()
        return TrackedRun(f"mlflow-{run_id}", "1", f"http://mlflow/{run_id}")

    def log_params(self, run: str, params: Mapping[str, object]) -> None:
        if (PLACE / "deaf").exists():
            (PLACE / "deaf").unlink()
            raise ValueError("MLflow refuses to hear it")
        _said("params", run=run)

    def set_tags(self, run: str, tags: Mapping[str, str]) -> None:
        _said("tags", run=run, tags=dict(tags))

    def log_points(self, run: str, points: Sequence[MetricPoint]) -> None:
        _said("points", run=run, points=[(p.key, p.step, p.value, p.time_ms) for p in points])

    def log_summary(self, run: str, values: Mapping[str, float]) -> None:
        _said("summary", run=run)

    def log_inputs(self, run: str, datasets: Sequence[DatasetInput]) -> None:
        _said("inputs", run=run)

    def log_artifact_texts(self, run: str, texts: Mapping[str, str]) -> None:
        _said("texts", run=run, names=sorted(texts))

    def finish(self, run: str, status: str, ended_ms: int) -> None:
        _said("end", run=run, status=status)


class RegistryTwin:
    """Keeps one version for each digest of a run."""

    def __init__(self, uri: str, model: str, alias: str | None, mlflow_run: str) -> None:
        self.model = model

    def push(self, package: Package) -> Published:
        if (PLACE / "refuse").exists():
            raise RegistryError("the registry refuses it")
        (PLACE / "tampered").unlink(missing_ok=True)
        version = PLACE / f"version-{package.run_id}-{package.digest}"
        if not version.exists():
            _said("version", run=package.run_id, digest=package.digest)
            version.touch()
        return Published("mlflow", f"models:/{self.model}/1", "1", "http://mlflow/1", package.digest)

    def verify(self, published: Published) -> list[str]:
        return ["it was tampered with"] if (PLACE / "tampered").exists() else []
