"""A process that may lead, as the split-brain proof starts it: `leader.py <home> <database>`.

It says `ready`, then `leads <fence>` and `stands by` at each term, and `refused` at each write that its
fence forbids; one is tried after each term. Each transaction under a lease writes into the table `proof` who
made it: the database's own order of the writes of all processes.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

import sqlalchemy as sa

from orchestrator.backends.local import LocalBackend
from orchestrator.controller.loop import Loop
from orchestrator.db import Lease, LeaseLost
from orchestrator.db.transactions import Transactions
from orchestrator.host import open_host
from orchestrator.runs import Observation, Phase
from orchestrator.settings import Settings


class EndlessBackend(LocalBackend):
    """Every launch waits for ever, in other words each time, so that there is always something to write."""

    def observe(self, name: str) -> Observation:
        return Observation(Phase.PENDING, detail=f"it waits at {time.monotonic_ns()}")


def say(line: str) -> None:
    """In one write, since several threads speak."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _watched() -> None:
    writing, lead = Transactions.writing, Loop._lead

    @contextmanager
    def watched(self: Transactions, **named: bool) -> Iterator[sa.Connection]:
        try:
            with writing(self, **named) as connection:
                if self._lease is not None:
                    values = {"fence": self._lease.fence, "pid": os.getpid()}
                    connection.execute(
                        sa.text("INSERT INTO proof (fence, pid) VALUES (:fence, :pid)"), values
                    )
                yield connection
        except LeaseLost:
            say("refused")
            raise

    def leads(self: Loop, lease: Lease, stop: threading.Event) -> None:
        say(f"leads {lease.fence}")
        lead(self, lease, stop)
        say("stands by")
        if not stop.is_set():
            with suppress(LeaseLost):  # one write surely comes too late, whatever else was under way
                self.database.under(lease).tell_again("triage-0", 0.0)

    Transactions.writing, Loop._lead = watched, leads  # type: ignore[method-assign]


def main(home: str, database: str) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    _watched()
    settings = Settings.from_environment({"AXO_HOME": home, "AXO_DATABASE": database})
    with open_host(settings) as host:
        host.loop.controller = replace(host.loop.controller, backend=EndlessBackend(settings))
        say("ready")
        with host.driving():
            stop.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
