"""Two processes over one database: who leads, how soon another one does, and that a stale leader's writes
are refused."""

from __future__ import annotations

import itertools
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa
from databases import make_database
from stored_run import store_run
from waiting import wait

from orchestrator.db import Database, open_database
from orchestrator.runs import Status

PROGRAM = Path(__file__).with_name("leader.py")
RUNS = 20


@dataclass
class Process:
    """A process that may lead, and what it has said so far, with the times at which it did."""

    process: subprocess.Popen[str]
    said: queue.SimpleQueue[tuple[str, float]] = field(default_factory=queue.SimpleQueue)

    def listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.put((line.strip(), time.monotonic()))

    def wait_for(self, word: str, seconds: float) -> float:
        """When it said something that begins with `word`."""
        deadline = time.monotonic() + seconds
        while True:
            said, when = self.said.get(timeout=max(0.0, deadline - time.monotonic()))
            if said.startswith(word):
                return when

    def send(self, number: signal.Signals) -> float:
        self.process.send_signal(number)
        return time.monotonic()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with twenty runs in training, so that there is always something to look at."""
    url = f"sqlite:///{tmp_path}/axo.db"
    if request.param == "postgresql":
        url = make_database(request.getfixturevalue("postgres"))
    for number in range(RUNS):
        store_run(tmp_path, f"triage-{number}", status=Status.TRAINING, database_url=url)
    return url


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    database = open_database(url)
    counted = "SERIAL PRIMARY KEY" if url.startswith("postgresql") else "INTEGER PRIMARY KEY AUTOINCREMENT"
    with database.writing() as connection:
        connection.execute(sa.text(f"CREATE TABLE proof (id {counted}, fence INT, pid INT)"))
        connection.execute(sa.text("UPDATE runs SET look = 0"))
    yield database
    database.close()


@pytest.fixture
def start(tmp_path: Path, url: str, database: Database) -> Iterator[Callable[[], Process]]:
    with ExitStack() as stack:

        def started() -> Process:
            command = [sys.executable, str(PROGRAM), str(tmp_path), url]
            popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            process = Process(stack.enter_context(popen))
            stack.callback(popen.kill)
            threading.Thread(target=process.listen, daemon=True).start()
            process.wait_for("ready", 60)
            return process

        yield started


def stop(process: Process, database: Database) -> None:
    """Stop it: where it does not hold SQLite's write lock, which would keep everybody else out; wherever it
    is with PostgreSQL, which ends a transaction that sleeps."""
    while True:
        process.send(signal.SIGSTOP)
        if database.engine.dialect.name == "postgresql":
            return
        try:
            with database.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA busy_timeout = 200")
                connection.exec_driver_sql("COMMIT")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                connection.exec_driver_sql("PRAGMA busy_timeout = 30000")
                return
        except sa.exc.OperationalError:
            process.send(signal.SIGCONT)
            time.sleep(0.05)  # or it would be stopped again before it has done a thing


def writes(database: Database) -> list[tuple[int, int]]:
    with database.reading() as connection:
        return [
            (fence, pid)
            for fence, pid in connection.execute(sa.text("SELECT fence, pid FROM proof ORDER BY id"))
        ]


def test_a_stale_leader_writes_nothing_and_another_takes_over_in_time(
    start: Callable[[], Process], database: Database, record_property: Callable[[str, object], None]
) -> None:
    first = start()
    first.wait_for("leads 1", 10)
    second = start()
    wait(lambda: len(writes(database)) > 2 * RUNS)

    stop(first, database)
    stopped = time.monotonic()
    away = second.wait_for("leads", 30) - stopped
    wait(lambda: writes(database)[-1][1] == second.process.pid)
    first.send(signal.SIGCONT)
    first.wait_for("stands by", 30)
    first.wait_for("refused", 30)

    killed = second.send(signal.SIGKILL)
    after_kill = first.wait_for("leads", 30) - killed
    third = start()
    ended = first.send(signal.SIGTERM)
    after_term = third.wait_for("leads", 20) - ended

    fences = [fence for fence, _ in writes(database)]
    stale = sum(1 for before, after in itertools.pairwise(fences) if after < before)
    figures = f"takeover: {away:.1f} s after SIGSTOP, {after_kill:.1f} s after SIGKILL (goal 20), "
    figures += f"{after_term:.2f} s after SIGTERM (goal 2); stale writes: {stale} of {len(fences)}"
    print(f"\n{figures}")
    record_property("figures", figures)
    assert stale == 0
    assert len({pid for _, pid in writes(database)}) >= 2
    assert after_kill <= 20
    assert after_term <= 2
