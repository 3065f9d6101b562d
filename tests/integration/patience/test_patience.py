"""Real processes: training that freezes is told, stopped and resumed; what takes too long is ended."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from orchestrator import wire
from orchestrator.backends import LaunchRequest
from orchestrator.backends.local import LocalBackend
from orchestrator.controller import stalls
from orchestrator.controller.history import training_seconds
from orchestrator.db import Run
from orchestrator.host import Host, open_host
from orchestrator.reasons import Reason
from orchestrator.runs import Intent, Status
from orchestrator.service import LOCAL
from orchestrator.settings import Settings

SPEC = """\
name: triage
base_model: org/base@0123abc
dataset: {source: tickets.jsonl}
mapping:
  messages:
    - {role: user, content: "{{ text }}"}
    - {role: assistant, content: "{{ queue }}"}
training: {batch_size: 4}
"""
SECONDS = 60


class QuickBackend(LocalBackend):
    """The local backend, whose launches are the program beside this; it is firm after half a second."""

    grace_seconds = 0.5

    def _command(self, launch: LaunchRequest) -> list[str]:
        program = str(Path(__file__).with_name("training.py"))
        folder = f"{launch.storage}/runs/{launch.run}"
        return [sys.executable, "-S", program, launch.step, folder, str(launch.launch)]


@contextmanager
def driven(
    home: Path, spec: str, stalled: float = 900.0, stop: float | None = None
) -> Iterator[tuple[Host, str]]:
    """A service whose run was submitted just now."""
    (home / "python").touch()
    environment = {"AXO_HOME": str(home), "AXO_TRAINER_PYTHON": str(home / "python")}
    settings = replace(
        Settings.from_environment(environment), stalled_seconds=stalled, stalled_stop_seconds=stop
    )
    with open_host(settings, backend=QuickBackend(settings)) as host, host.driving():
        run = host.service.runs.submit(LOCAL, wire.Submission(spec=spec, base=str(home))).id
        try:
            yield host, run
        finally:
            (home / "enough").touch()


def wait(host: Host, run: str, until: Callable[[Run], bool]) -> Run:
    deadline = time.monotonic() + SECONDS
    while not until(found := host.service.database.run(run)):
        assert time.monotonic() < deadline, f"{run} is {found.status} ({found.reason}: {found.message})"
        time.sleep(0.02)
    return found


def test_frozen_training_is_told_then_stopped_and_goes_on_in_another_launch(tmp_path: Path) -> None:
    (tmp_path / "hang").touch()
    with driven(tmp_path, SPEC, stalled=1.5, stop=1.5) as (host, run):
        told = wait(host, run, lambda found: found.reason is Reason.STALLED)
        assert (told.status, told.step) == (Status.TRAINING, 5)
        assert "nothing was heard of it" in told.message
        database = host.service.database
        wait(host, run, lambda _: len(database.launches(run)) == 3)
        assert [launch.stalled is not None for launch in database.launches(run)] == [False, True, False]
        wait(host, run, lambda found: found.status is Status.TRAINING and (found.step or 0) > 5)
        (tmp_path / "enough").touch()
        ended = wait(host, run, lambda found: found.status.final)
    assert (ended.status, ended.lost_steps) == (Status.SUCCEEDED, 5)


def test_silence_shorter_than_many_steps_is_no_stall(tmp_path: Path) -> None:
    """Steps take 0.1 s, so it may be silent for two seconds, whatever the settings say."""
    (tmp_path / "hang").touch()
    with driven(tmp_path, SPEC, stalled=0.3) as (host, run):
        wait(host, run, lambda found: found.step == 5)
        heard = host.service.database.attempts(run)[-1].heard
        told = wait(host, run, lambda found: found.reason is Reason.STALLED)
        assert heard is not None
        assert told.updated - heard > 0.8 * stalls.PACES * 0.1
        host.service.runs.want(LOCAL, run, Intent.CANCEL)
        wait(host, run, lambda found: found.status.final)


def test_max_hours_are_hours_of_training(tmp_path: Path) -> None:
    spec = f"{SPEC}compute: {{max_hours: {2.0 / 3600:.6f}}}\n"
    with driven(tmp_path, spec) as (host, run):
        ended = wait(host, run, lambda found: found.status.final)
        attempts = host.service.database.attempts(run)
        launches = host.service.database.launches(run)
    assert (ended.status, ended.reason) == (Status.FAILED, Reason.TIME_LIMIT)
    assert len(launches) == 2
    claimed = max(attempt.number for attempt in attempts)
    took = training_seconds(attempts)
    assert claimed == 2
    assert 2.0 <= took <= 8.0
    assert ended.ended is not None
    assert ended.ended - launches[-1].created > took + 0.9, "the second that it took to begin is not counted"
