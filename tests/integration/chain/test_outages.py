"""MLflow away at the start, in the middle and at the end; a run that is cancelled; two `axo run` at once."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from readings import history_of, open_mlflow

from orchestrator import mlflow_server
from orchestrator.db import Database, opened

Make = Callable[..., Any]
LONG = {
    "epochs": 100,
    "max_steps": 40,
    "learning_rate": 2e-3,
    "sequence_len": 64,
    "batch_size": 8,
    "checkpoint_steps": 4,
    "eval_steps": 20,
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """The folder of an MLflow server that is not running yet, and where it will answer."""
    folder = tmp_path / "server"
    url = mlflow_server.start(folder).url
    mlflow_server.stop(folder)
    yield folder, url
    mlflow_server.stop(folder)


def test_mlflow_away_at_start_middle_and_end(make_desk: Make, server: tuple[Path, str]) -> None:
    folder, url = server
    desk = make_desk("outage", url)
    desk.write_spec(name="outage", training=LONG)
    axo = desk.start("run", "spec.yaml")
    _wait_for(desk, lambda database, run: database.points(run.id, "loss"))  # trains with MLflow away
    mlflow_server.start(folder)
    _wait_for(desk, lambda database, run: run.mlflow_run)
    mlflow_server.stop(folder)
    _wait_for(desk, lambda database, run: run.status == "publishing" and run.reason == "registry_away")
    assert axo.poll() is None
    mlflow_server.start(folder)
    assert axo.wait(timeout=120) == 0, (desk.folder / "stderr.txt").read_text()
    client = open_mlflow(url)
    experiment = client.get_experiment_by_name("outage")
    (tracked,) = client.search_runs([experiment.experiment_id])
    assert tracked.info.status == "FINISHED"
    assert [s for s, _ in history_of(client, tracked.info.run_id, "loss")] == list(range(1, 41))
    (version,) = client.search_model_versions("name = 'desk'")
    assert version.run_id == tracked.info.run_id


def test_a_cancelled_run_keeps_its_last_adapter_and_publishes_nothing(make_desk: Make) -> None:
    desk = make_desk("cancelled")
    desk.write_spec(name="cancelled", training=LONG, publish=[{"mlflow": {"model": "cancelled"}}])
    axo = desk.start("run", "spec.yaml")
    _wait_for(desk, lambda database, run: len(database.points(run.id, "loss")) >= 5)
    desk.axo("cancel", "cancelled")
    assert axo.wait(timeout=60) == 1
    shown = json.loads(desk.axo("get", "cancelled", "-o", "json"))
    assert (shown["status"], shown["published"]) == ("cancelled", [])
    storage = desk.home / "storage" / "runs" / shown["id"]
    assert list(storage.glob("checkpoints/*/MANIFEST.json"))
    assert (storage / "adapter/MANIFEST.json").exists()
    assert "has ended" in desk.refused("cancel", "cancelled", code=1)
    assert "no finished adapter" in desk.refused("publish", "cancelled", code=1)


def test_two_of_one_spec_share_one_run(make_desk: Make) -> None:
    desk = make_desk("shared")
    desk.write_spec(name="shared", publish=[])
    first = desk.start("run", "spec.yaml")
    _wait_for(desk, lambda database, run: run.status != "queued")
    second = desk.start("run", "spec.yaml")
    assert [axo.wait(timeout=300) for axo in (first, second)] == [0, 0]
    with _database(desk) as database:
        (run,) = database.runs()
        assert [launch.step for launch in database.launches(run.id)] == ["prepare", "train"]


def _database(desk: Any) -> contextlib.AbstractContextManager[Database]:
    return opened(f"sqlite:///{desk.home / 'axo.db'}")


def _wait_for(desk: Any, condition: Callable[[Database, Any], object], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while True:
        with _database(desk) as database:
            if any(condition(database, run) for run in database.runs()):
                return
        assert time.monotonic() < deadline, (desk.folder / "stderr.txt").read_text()
        time.sleep(0.2)
