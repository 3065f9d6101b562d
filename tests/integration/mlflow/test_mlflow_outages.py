"""A server that goes away before, during or after what it is told, and comes back."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator import mlflow_client, mlflow_server
from orchestrator.errors import TrackingError
from orchestrator.tracking import MetricPoint, TrackedRun, Tracker

STARTED = 1_700_000_000_000
POINTS = [MetricPoint("train/loss", step, 1 / (step + 1), STARTED + step) for step in range(6000)]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "mlflow"
    mlflow_server.stop(tmp_path / "mlflow")


def ensure(tracker: Tracker) -> TrackedRun:
    return tracker.ensure_run("run-1", "triage", "outages", {}, STARTED)


def kill(server: mlflow_server.Server) -> None:
    os.killpg(server.pid, signal.SIGKILL)


def rows(folder: Path, table: str) -> int:
    database = f"file:{folder / 'mlflow.db'}?mode=ro"
    with closing(sqlite3.connect(database, uri=True)) as connection:
        return int(connection.execute(f"select count(*) from {table}").fetchone()[0])


def steps_and_values(tracker: Tracker, tracked: TrackedRun) -> Sequence[tuple[int, float]]:
    found = mlflow_client.open_client(tracker.uri).get_metric_history(tracked.mlflow_run_id, "train/loss")
    return sorted((metric.step, metric.value) for metric in found)


def test_replays_around_outages_give_each_step_once(folder: Path) -> None:
    server = mlflow_server.start(folder)
    tracker = Tracker(server.url)
    tracked = ensure(tracker)

    with ThreadPoolExecutor() as pool:
        telling = pool.submit(tracker.log_points, tracked.mlflow_run_id, POINTS)
        while not rows(folder, "metrics"):
            assert not telling.done()
        kill(server)
        with pytest.raises(TrackingError):
            telling.result()
    assert 0 < rows(folder, "metrics") < len(POINTS)

    began = time.monotonic()
    for tell in (
        lambda: ensure(tracker),
        lambda: tracker.log_points(tracked.mlflow_run_id, POINTS[:10]),
        lambda: tracker.log_artifact_texts(tracked.mlflow_run_id, {"spec.yaml": "a"}),
        lambda: tracker.finish(tracked.mlflow_run_id, "FINISHED", STARTED),
    ):
        with pytest.raises(TrackingError, match="cannot be reached"):
            tell()
    assert time.monotonic() - began < 2

    again = mlflow_server.start(folder)
    assert again.url == server.url
    assert ensure(tracker) == tracked
    tracker.log_points(tracked.mlflow_run_id, POINTS[3000:])
    tracker.log_points(tracked.mlflow_run_id, POINTS)
    tracker.finish(tracked.mlflow_run_id, "FINISHED", STARTED + 1)
    assert steps_and_values(tracker, tracked) == [(point.step, point.value) for point in POINTS]
    assert rows(folder, "runs") == 1
