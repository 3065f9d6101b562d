"""MLflow away for an hour while runs train: it then has every point once, and one run of each.

The hour is the clock's; MLflow is real, killed while it is told, and killed again while it catches up.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from stored_run import store_run

from orchestrator import mlflow_server
from orchestrator.contract import Record
from orchestrator.controller.record import take_in_report
from orchestrator.controller.ship import Shipping
from orchestrator.controller.track import Tracking
from orchestrator.db import Attempt, Database, opened
from orchestrator.runs import Status
from orchestrator.settings import Settings

RUNS = ("triage-aaaaa", "triage-bbbbb")
EVERY, HOUR = 10.0, 3600.0  # seconds between two steps, and of the outage
BEGAN = 1_700_000_000.0


@dataclass
class World:
    """Runs that train by a clock which moves as it is told to."""

    database: Database
    folder: Path
    now: float = BEGAN
    step: int = 3
    records: dict[str, Attempt] = field(default_factory=lambda: {run: Attempt(3, 1) for run in RUNS})

    def train(self) -> None:
        """A further step of each run."""
        self.step += 1
        for run, before in self.records.items():
            values = {"loss": 1.0 / self.step, "grad_norm": float(self.step)}
            line = Record("metrics", self.step, self.now, values).to_line()
            offset = take_in_report(self.database, run, before, before.offset, line, 1.0)
            self.records[run] = replace(before, offset=offset)

    def told(self) -> list[tuple[str, str, int, float]]:
        """What MLflow's own database holds: a row for each point that it was ever told and kept."""
        with closing(sqlite3.connect(f"file:{self.folder}/mlflow.db?mode=ro", uri=True)) as connection:
            query = (
                "SELECT tags.value, metrics.key, metrics.step, metrics.value FROM metrics"
                " JOIN tags ON tags.run_uuid = metrics.run_uuid AND tags.key = 'axo.run_id'"
            )
            return sorted(connection.execute(query).fetchall())

    def known(self) -> list[tuple[str, str, int, float]]:
        return sorted((run, p.key, p.step, p.value) for run in RUNS for p in self.database.points(run))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    for run in RUNS:
        store_run(tmp_path, run, status=Status.TRAINING, created=BEGAN - 100, facts={})
    with opened(f"sqlite:///{tmp_path}/axo.db") as database:
        yield World(database, tmp_path / "mlflow")
    mlflow_server.stop(tmp_path / "mlflow")


def test_an_hour_without_mlflow_loses_and_doubles_nothing(world: World, tmp_path: Path) -> None:
    server = mlflow_server.start(world.folder)
    settings = Settings.from_environment({"AXO_HOME": str(tmp_path), "AXO_MLFLOW_URI": server.url})
    shipping = Shipping(Tracking(settings, world.database), lambda: world.now, threading.Event())
    for run in RUNS:
        world.database.tell_again(run, 1.0)
    go_on(world, shipping, BEGAN + 60)
    assert len(world.told()) > 10
    os.killpg(server.pid, signal.SIGKILL)
    before = world.told()
    go_on(world, shipping, BEGAN + HOUR)
    assert world.told() == before
    assert mlflow_server.start(world.folder).url == server.url
    killer = threading.Timer(0.3, lambda: os.killpg(mlflow_server.start(world.folder).pid, signal.SIGKILL))
    killer.start()
    back = world.now
    go_on(world, shipping, world.now + 120)
    killer.join()
    mlflow_server.start(world.folder)
    while world.database.to_tell(world.now):
        world.now += shipping.turn()
        assert world.now - back < HOUR, "it has not caught up within an hour"
    assert world.told() == world.known()
    assert len(world.known()) > 2 * len(RUNS) * HOUR / EVERY
    print(
        f"\n{len(world.known())} points, each once; caught up {world.now - back:.0f} s after MLflow's return"
    )


def go_on(world: World, shipping: Shipping, until: float) -> None:
    """Train and ship until that time of the clock."""
    look = world.now
    while world.now < until:
        world.train()
        if world.now >= look:
            look = world.now + shipping.turn()
        world.now += EVERY
