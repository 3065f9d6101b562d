"""PostgreSQL is killed while submissions are committed: what was acknowledged is there, and there once.

Five kills in the suite; `AXO_PROVE=1` makes it two hundred.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from benches._serving import serving
from postgres_server import PostgresServer, postgres_server

from orchestrator import wire
from orchestrator.client import Client
from orchestrator.db import Database, opened
from orchestrator.db import tables as t
from orchestrator.errors import DatabaseError, UnreachableError
from orchestrator.host import Host, open_host
from orchestrator.settings import Settings

KILLS = 200 if os.environ.get("AXO_PROVE") == "1" else 5
SENDERS = 4  # at a time, each with a key of its own, which two clients send at once
MOST_COMMITS = 40  # that are let pass before one is cut
LONGEST_SECONDS = 0.008  # from a COMMIT's beginning to the kill: twice what one takes on this disk
SPEC = """
name: triage
base_model: acme/base
dataset: {source: "hf://acme/tickets/default/train", validation: 0.1}
mapping:
  messages:
    - {role: user, content: "{{ text }}"}
    - {role: assistant, content: "{{ queue }}"}
"""


@dataclass
class Killer:
    """Kills the server in the middle of a commit, once for each time it is told to."""

    server: PostgresServer
    drawn: random.Random
    up: threading.Event = field(default_factory=threading.Event)
    _left: Iterator[int] = field(default_factory=lambda: iter(()))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def watch(self, engine: sa.Engine) -> None:
        sa.event.listen(engine, "commit", self._begins)
        self.up.set()

    def kill_at_commit(self) -> None:
        """Kill the server some way into one of the next commits, and start it again."""
        process = self.server.process()
        with self._lock:
            self._left = iter(range(self.drawn.randrange(MOST_COMMITS), -1, -1))
        self.server.wait_for_end(process)
        self.server.start()
        self.up.set()

    def _begins(self, _: sa.Connection) -> None:
        """A COMMIT is about to be sent."""
        with self._lock:
            due = next(self._left, None) == 0
        if due:
            threading.Timer(self.drawn.uniform(0, LONGEST_SECONDS), self._kill).start()

    def _kill(self) -> None:
        self.up.clear()
        self.server.kill()


@dataclass
class Told:
    """What clients were told: the runs that each key got, and how often they had to send it again."""

    runs: dict[str, set[str]] = field(default_factory=dict)
    again: int = 0
    kept_untold: int = 0

    def send(self, client: Client, key: str, up: threading.Event) -> str:
        """Send a submission until it is acknowledged, as anybody must who gets no answer."""
        failed = False
        while True:
            try:
                run = client.submit(wire.Submission(spec=SPEC), key=key)
            except (DatabaseError, UnreachableError):
                self.again, failed = self.again + 1, True
                if not up.wait(60):
                    raise TimeoutError("the server does not come back") from None
            else:
                self.kept_untold += failed and run.continued
                return run.id


@pytest.fixture
def server() -> Iterator[PostgresServer]:
    with postgres_server(durable=True) as server:
        yield server


@pytest.fixture
def host(server: PostgresServer, tmp_path: Path) -> Iterator[Host]:
    (tmp_path / "python").touch()
    variables = {
        "AXO_HOME": str(tmp_path),
        "AXO_TRAINER_PYTHON": str(tmp_path / "python"),
        "AXO_DATABASE": server.url(),
    }
    with open_host(Settings.from_environment(variables)) as opened:
        yield opened


def test_no_acknowledged_submission_is_lost_or_doubled(
    server: PostgresServer, host: Host, capsys: pytest.CaptureFixture[str]
) -> None:
    began = time.monotonic()
    killer, over = Killer(server, random.Random(5)), threading.Event()
    killer.watch(host.service.database.engine)
    with serving(host) as url, ThreadPoolExecutor(SENDERS) as pool:
        senders = [pool.submit(send_until, over, url, killer.up) for _ in range(SENDERS)]
        try:
            for _ in range(KILLS):
                killer.kill_at_commit()
        finally:
            over.set()
        told = [sender.result() for sender in senders]
    server.stop("immediate")
    server.start()
    runs = {key: runs for each in told for key, runs in each.runs.items()}
    with opened(server.url()) as database:
        assert_each_is_there_once(database, runs)
    with capsys.disabled():
        took = time.monotonic() - began
        again, kept = sum(each.again for each in told), sum(each.kept_untold for each in told)
        print(
            f"\n{KILLS} kills at commit in {took:.0f} s: {len(runs):,} submissions, each acknowledged to two "
            f"clients, {again:,} sent again after an error, {kept:,} of them found kept; 0 lost, 0 doubled"
        )


def send_until(over: threading.Event, url: str, up: threading.Event) -> Told:
    """Send one submission after another, each from two clients at once."""
    told = Told()
    with ExitStack() as stack:
        pair = [stack.enter_context(Client(url, sleep=up.wait)) for _ in range(2)]
        for client in pair:
            client.patience.busy = 0.0  # the test itself sends again, and counts it
        pool = stack.enter_context(ThreadPoolExecutor(2))
        while not over.is_set():
            key = uuid4().hex
            told.runs[key] = set(pool.map(lambda client, key=key: told.send(client, key, up), pair))
    return told


def assert_each_is_there_once(database: Database, told: Mapping[str, set[str]]) -> None:
    with database.reading() as connection:
        kept = dict(connection.execute(sa.select(t.requests.c.key, t.requests.c.run)).all())
        runs = list(connection.scalars(sa.select(t.runs.c.id)))
        events = list(connection.scalars(sa.select(t.events.c.run)))
    assert told == {key: {run} for key, run in kept.items()}
    assert sorted(runs) == sorted(kept.values()) == sorted(events)
