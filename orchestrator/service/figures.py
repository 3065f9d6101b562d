"""What there is to say of the whole service, in the text format of Prometheus."""

from __future__ import annotations

from prometheus_client import Gauge, generate_latest

from orchestrator.db import Database
from orchestrator.runs import Status

_RUNS = Gauge("axo_runs", "Runs by status; queued ones wait for their first launch.", ["status"])
_DUE = Gauge("axo_due_lag_seconds", "How long the run has waited that was due first.")
_MLFLOW = Gauge("axo_mlflow_lag_seconds", "How long the news has waited that MLflow was to hear first.")


def figures(database: Database, now: float) -> bytes:
    """The figures of this process, and those that the database knows at `now`."""
    counts = database.count()
    for status in Status:
        _RUNS.labels(status.value).set(counts.get(status, 0))
    due, mlflow = database.lag(now)
    _DUE.set(due)
    _MLFLOW.set(mlflow)
    return generate_latest()
