"""`axo submit --watch` while its service is killed and comes back: no change is lost or said twice."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import serving
from triage import AXO, axo, lay_out
from waiting import wait

from orchestrator.db import Database, Run, opened
from orchestrator.reasons import Reason
from orchestrator.runs import Status

CHANGES = [
    (Status.PREPARING, None),
    (Status.WAITING, Reason.STARTING),
    (Status.TRAINING, None),
    (Status.WAITING, Reason.RESUMING),
    (Status.TRAINING, None),
    (Status.CANCELLED, Reason.BY_USER),
]


@pytest.fixture
def laptop(tmp_path: Path) -> Path:
    (tmp_path / "laptop").mkdir()
    (tmp_path / "service").mkdir()
    return lay_out(tmp_path / "laptop")


@pytest.fixture
def database(laptop: Path) -> Iterator[Database]:
    """The service's database; no controller but the test moves its runs."""
    over = threading.Event()
    with opened(f"sqlite:///{laptop.parent / 'service' / 'axo.db'}") as database:

        def lead() -> None:
            while database.hold_lease("controller", "the test", 15) and not over.wait(2):
                pass

        assert database.hold_lease("controller", "the test", 15)
        leader = threading.Thread(target=lead)
        leader.start()
        yield database
        over.set()
        leader.join()


class Watcher:
    """The command, and what it has said so far."""

    def __init__(self, laptop: Path, *arguments: str, **more: str) -> None:
        self.words = laptop / "words.txt"
        environment = {**os.environ, "AXO_HOME": str(laptop / "home"), "HF_HUB_OFFLINE": "1", **more}
        with self.words.open("w") as file:
            self.process = subprocess.Popen(
                [AXO, *arguments], cwd=laptop, env=environment, stdout=subprocess.DEVNULL, stderr=file
            )

    def said(self, word: str, seconds: float = 40.0) -> None:
        """Return once it has said that."""
        wait(lambda: word in self.words.read_text(), seconds)

    @property
    def lines(self) -> list[str]:
        return self.words.read_text().splitlines()


def only_run(database: Database) -> Run:
    (run,) = database.runs(2)
    return run


def test_no_change_is_lost_or_told_twice_while_the_service_is_away(laptop: Path, database: Database) -> None:
    home = laptop.parent / "service"
    with serving(home) as server:
        assert axo(laptop, "login", server.url, "--name", "team").returncode == 0
        watcher = Watcher(laptop, "submit", "spec.yaml", "--watch")
        watcher.said("queued")
        database.move(only_run(database), *CHANGES[0], "", 2.0)
        watcher.said("preparing")
        os.kill(server.pid, signal.SIGKILL)
    for number, change in enumerate(CHANGES[1:4]):
        database.move(only_run(database), *change, "", 3.0 + number)
    watcher.said("waiting for it")
    with serving(home, port=int(server.url.rpartition(":")[2])):
        watcher.said("it answers again, after 0:")
        for number, change in enumerate(CHANGES[4:]):
            database.move(only_run(database), *change, "", 6.0 + number)
        assert watcher.process.wait(40) == 1
    told = [line.split(":")[0] for line in watcher.lines]
    states = [line for line in told if line in set(Status)]
    assert states == ["queued", *(status.value for status, _ in CHANGES)]


def test_ctrl_c_lets_go_of_the_run_and_says_how_to_come_back(laptop: Path, database: Database) -> None:
    with serving(laptop.parent / "service") as server:
        assert axo(laptop, "login", server.url, "--name", "team").returncode == 0
        watcher = Watcher(laptop, "submit", "spec.yaml", "--watch")
        watcher.said("queued")
        watcher.process.send_signal(signal.SIGINT)
        assert watcher.process.wait(20) == 130
        run = only_run(database).id
        assert f"let go of {run} (queued); it goes on" in watcher.lines
        assert f"  come back:  axo get {run} -w" in watcher.lines


def test_who_may_not_watch_any_more_learns_that_the_run_goes_on(laptop: Path, database: Database) -> None:
    service = laptop.parent / "service"
    text = axo(service, "admin", "keys", "create", "ops", "--role", "admin", AXO_HOME=str(service)).stdout
    with serving(service) as server:
        watcher = Watcher(laptop, "submit", "spec.yaml", "--watch", AXO_URL=server.url, AXO_KEY=text.strip())
        watcher.said("queued")
        (key,) = database.keys("default")
        assert axo(service, "admin", "keys", "revoke", key.id, AXO_HOME=str(service)).returncode == 0
        assert watcher.process.wait(30) == 3
        run = only_run(database).id
        assert f"{run} (queued) goes on without being watched" in watcher.lines
        assert f"  come back:  axo get {run} -w" in watcher.lines
        assert "Traceback" not in watcher.words.read_text()
