"""Killed at random, again and again: the run ends as if nothing had happened.

Three kills in the suite; `AXO_PROVE=1` makes it thirty.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from readings import history_of, open_mlflow
from waiting import wait

from orchestrator import contract
from orchestrator.db import Database, Run, opened

Make = Callable[..., Any]

KILLS = 30 if os.environ.get("AXO_PROVE") == "1" else 3
STEPS = 30 + 20 * KILLS
TRAINING = {
    "epochs": 100,
    "max_steps": STEPS,
    "learning_rate": 2e-3,
    "sequence_len": 64,
    "batch_size": 8,
    "checkpoint_steps": 5,
    "eval_steps": 15,
}


@pytest.mark.parametrize("seed", [11])
def test_random_kills_change_nothing(make_desk: Make, seed: int) -> None:
    undisturbed = make_desk("calm")
    undisturbed.write_spec(name="calm", training=TRAINING)
    beside = undisturbed.start("run", "spec.yaml")
    desk, draw = make_desk("storm"), random.Random(seed)
    target = [{"mlflow": {"model": f"storm-{seed}", "alias": "candidate"}}]
    desk.write_spec(name="storm", training=TRAINING, publish=target)
    done = 0
    axo = desk.start("run", "spec.yaml")
    while done < KILLS and axo.poll() is None:
        time.sleep(draw.uniform(1, 16))
        if draw.random() < 0.5:
            done += _kill(axo.pid)
            axo.wait()
            axo = desk.start("run", "spec.yaml")
        else:
            done += _kill_trainer(desk.home, draw)
    assert done == KILLS, "the run ended before every kill was done: give it more steps"
    assert axo.wait(timeout=600) == 0, (desk.folder / "stderr.txt").read_text()
    assert beside.wait(timeout=600) == 0, (undisturbed.folder / "stderr.txt").read_text()

    with _database(desk) as database, _database(undisturbed) as calm:
        (run,) = database.runs()
        (quiet,) = calm.runs()
        assert run.status == "succeeded"
        assert _points(database, run) == _points(calm, quiet)
        assert run.lost_steps == _retrained(desk.home, run)
    _assert_same_adapter(desk, run, undisturbed, quiet)
    _assert_published_once(desk, run, f"storm-{seed}")


def test_killed_while_publishing_publishes_once(make_desk: Make) -> None:
    desk = make_desk("publishing")
    target = [{"mlflow": {"model": "publishing", "alias": "candidate"}}]
    training = {**TRAINING, "max_steps": 4, "checkpoint_steps": 4, "eval_steps": 4}
    desk.write_spec(name="publishing", training=training, publish=target)
    axo, draw = desk.start("run", "spec.yaml"), random.Random(5)
    wait(lambda: list(desk.home.glob("storage/runs/*/adapter/MANIFEST.json")), 300)
    for _ in range(KILLS):
        time.sleep(draw.uniform(0.2, 3))
        _kill(axo.pid)
        axo.wait()
        axo = desk.start("run", "spec.yaml")
        if _succeeded(desk):
            break
    axo.wait(timeout=300)
    with _database(desk) as database:
        run = database.runs()[-1]
    _assert_published_once(desk, run, "publishing")


def _assert_published_once(desk: Any, run: Run, model: str) -> None:
    client = open_mlflow(desk.environment["AXO_MLFLOW_URI"])
    experiment = client.get_experiment_by_name(run.name)
    (tracked,) = client.search_runs([experiment.experiment_id], f"tags.`axo.run_id` = '{run.id}'")
    assert tracked.info.status == "FINISHED"
    versions = client.search_model_versions(f"name = '{model}'")
    assert [version.tags["axo.run_id"] for version in versions].count(run.id) == 1
    with _database(desk) as database:
        expected = [(point.step, point.value) for point in database.points(run.id, "loss")]
    assert history_of(client, tracked.info.run_id, "loss") == expected
    assert tracked.data.metrics["run/lost_steps"] == run.lost_steps


def _assert_same_adapter(desk: Any, run: Run, calm: Any, quiet: Run) -> None:
    digests = [
        contract.read_manifest(contract.open_store(str(d.home / "storage" / "runs" / r.id)), "adapter").digest
        for d, r in ((desk, run), (calm, quiet))
    ]
    assert digests[0] == digests[1]


def _points(database: Database, run: Run) -> dict[tuple[str, int], float]:
    """Every point but those that measure speed."""
    timed = {"step_seconds", "tokens_per_second"}
    found = database.points(run.id)
    return {
        (point.key, point.step): point.value
        for point in found
        if point.key not in timed
        and not point.key.endswith(("_runtime", "_per_second", "/train_per_sec_per_gpu"))
    }


def _retrained(home: Path, run: Run) -> int:
    """Steps whose loss stands in more than one attempt's record, counted once for each time too many."""
    store = contract.open_store(str(home / "storage" / "runs" / run.id))
    steps = [
        record.step
        for claim in contract.attempts(store)
        for record in contract.parse_records(contract.read_stream(store, claim.attempt, "metrics"))[0]
        if "loss" in record.values
    ]
    return len(steps) - len(set(steps))


def _kill_trainer(home: Path, draw: random.Random) -> int:
    """Kill the newest launch's process, alone or with its whole group; 0 where none is alive."""
    pids = sorted(home.glob("local/*.pid"), key=lambda path: int(path.stem.rsplit("-", 1)[1]))
    if not pids or not pids[-1].read_text().strip():
        return 0
    pid = int(pids[-1].read_text())
    group = draw.random() < 0.5
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if group else os.kill)(pid, signal.SIGKILL)
        return 1
    return 0


def _kill(pid: int) -> int:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return 1
    return 0


def _succeeded(desk: Any) -> bool:
    with _database(desk) as database:
        return any(run.status == "succeeded" for run in database.runs())


def _database(desk: Any) -> contextlib.AbstractContextManager[Database]:
    return opened(f"sqlite:///{desk.home / 'axo.db'}")
