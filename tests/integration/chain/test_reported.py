"""Real training that reports, to a service that dies and comes back: nothing is lost, nothing doubled."""

from __future__ import annotations

import os
import re
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from readings import history_of, open_mlflow
from waiting import wait

from orchestrator import contract
from orchestrator.client import Client
from orchestrator.db import opened
from orchestrator.errors import UnreachableError

STEPS, AWAY_SECONDS = 250, 2.0
TRAINING = {
    "epochs": 100,
    "max_steps": STEPS,
    "learning_rate": 2e-3,
    "sequence_len": 64,
    "batch_size": 8,
    "checkpoint_steps": 50,
    "eval_steps": 100,
}


@pytest.fixture
def desk(make_desk: Callable[..., Any]) -> Any:
    desk = make_desk("reported")
    desk.write_spec(name="reported", training=TRAINING, publish=[])
    desk.home.mkdir()
    (desk.home / "settings.yaml").write_text(
        yaml.safe_dump({"reports": {"url": f"unix://{desk.home}/reports.sock"}})
    )
    return desk


@contextmanager
def service(desk: Any, port: int) -> Iterator[tuple[Client, subprocess.Popen[bytes]]]:
    """The service of a desk's home, and a client of it."""
    process = desk.start("serve", "--port", str(port))
    with Client(f"http://127.0.0.1:{port}") as client:
        wait(lambda: answers(client), 240)
        try:
            yield client, process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def answers(client: Client) -> bool:
    try:
        return list(client.runs()) is not None
    except UnreachableError:
        return False


def reports(port: int) -> float:
    """How many reports the service has taken in since it began."""
    import httpx

    told = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    found = re.search(r"^axo_reports_total (\S+)", told, re.MULTILINE)
    assert found, told[:500]
    return float(found[1])


def test_a_service_that_dies_and_comes_back_knows_each_step_once(desk: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with service(desk, port) as (client, process):
        desk.environment["AXO_URL"] = f"http://127.0.0.1:{port}"
        desk.axo("submit", "spec.yaml")
        (run,) = list(client.runs())
        wait(lambda: (client.run(run.id).step or 0) > 10, 240)
        assert reports(port) > 0
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    time.sleep(AWAY_SECONDS)
    seen: dict[int, float] = {}
    with service(desk, port) as (client, _):

        def has_ended() -> bool:
            now = client.run(run.id)
            seen.setdefault(now.step or 0, time.time())
            return now.status.final and now.tracked

        wait(has_ended, 240)
        now = client.run(run.id)
        assert now.status == "succeeded", now
        assert reports(port) > 0
    assert_told_once(desk, run.id, seen)


def assert_told_once(desk: Any, name: str, seen: dict[int, float]) -> None:
    with opened(f"sqlite:///{desk.home}/axo.db") as database:
        run = database.run(name)
        points = {(point.key, point.step): point for point in database.points(name)}
    store = contract.FileStore(Path(desk.home) / "storage/runs" / name)
    (training,) = [claim.attempt for claim in contract.attempts(store) if claim.launch == 2]
    records, _ = contract.parse_records(contract.read_stream(store, training, "metrics"))
    said = {
        (key, record.step): value
        for record in records
        if record.kind == "metrics"
        for key, value in record.values.items()
    }
    assert {key: point.value for key, point in points.items()} == pytest.approx(said, nan_ok=True)
    told = history_of(open_mlflow(desk.environment["AXO_MLFLOW_URI"]), str(run.mlflow_run), "loss")
    assert [step for step, _ in told] == list(range(1, STEPS + 1))
    late = [at - points["loss", step].time for step, at in seen.items() if ("loss", step) in points]
    print(f"\n{len(late)} steps were seen {statistics.median(late):.2f} s after they were done (median)")
