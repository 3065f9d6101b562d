"""Services that are born to die: one process imports everything once, and forks a service for each trial.

It reads one trial a line (JSON: home, flow, name, count), and answers with how that service ended: `null`
where it got to the end of its flow, else the number of the signal that killed it, or what went wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import twins
from boundaries import Boundaries

from orchestrator import contract, wire
from orchestrator.backends import LaunchRequest
from orchestrator.backends.local import LocalBackend
from orchestrator.controller import due, loop, publish, removals, rounds, ship, sweep, track
from orchestrator.controller.of_run import run_store
from orchestrator.db import Run
from orchestrator.errors import ConflictError
from orchestrator.host import Host, open_host
from orchestrator.runs import Intent, Status
from orchestrator.service import LOCAL, Reporter
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
PUBLISH = "publish: [{mlflow: {model: triage}}]\n"
SECONDS = 60


class QuickBackend(LocalBackend):
    """The local backend, whose launches are the stand-in."""

    def _command(self, launch: LaunchRequest) -> list[str]:
        program = Path(__file__).with_name("stand_in.py")
        folder = f"{launch.storage}/runs/{launch.run}"
        return [sys.executable, "-S", str(program), launch.step, folder, str(launch.launch)]


def _settings(home: Path) -> Settings:
    python = home / "python"
    python.touch()
    environment = {
        "AXO_HOME": str(home),
        "AXO_TRAINER_PYTHON": str(python),
        "AXO_MLFLOW_URI": "http://mlflow",
        "AXO_DATABASE": (home / "database").read_text(),
    }
    return Settings.from_environment(environment)


def _hasten() -> None:
    due.LOOK_SECONDS = rounds.LOOK_SECONDS = rounds.REST_SECONDS = 0.01
    due.REST_SECONDS = due.CALM_SECONDS = ship.REST_SECONDS = loop.CANDIDATE_SECONDS = 0.01
    ship.LIVE_SECONDS = 0.05
    removals.SWEEP_SECONDS = 0.02
    due.AGAIN_SECONDS = (0.05,)
    track.Tracker = twins.TrackerTwin  # type: ignore[assignment, misc]
    publish.MlflowRegistry = twins.RegistryTwin  # type: ignore[assignment, misc]


def _wait(host: Host, run: str, until: Callable[[Run], bool]) -> Run:
    deadline = time.monotonic() + SECONDS
    while not until(found := host.service.database.run(run)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{run} is {found.status} ({found.reason}: {found.message})")
        time.sleep(0.005)
    return found


def _over(run: Run) -> bool:
    return run.status.final and run.tracked == run.status


def _going(run: Run) -> bool:
    return run.status is Status.TRAINING or run.status.final


def _want(host: Host, run: str, intent: Intent) -> None:
    with contextlib.suppress(ConflictError):  # it was wanted before
        host.service.runs.want(LOCAL, run, intent)


def _plain(host: Host, home: Path, run: str) -> None:
    """Submitted, and left alone."""


def _cancel(host: Host, home: Path, run: str) -> None:
    _wait(host, run, _going)
    _want(host, run, Intent.CANCEL)


def _pause(host: Host, home: Path, run: str) -> None:
    _wait(host, run, lambda found: _going(found) or found.status is Status.PAUSED)
    if (home / "hold").exists():
        _want(host, run, Intent.PAUSE)
        _wait(host, run, lambda found: found.status is Status.PAUSED)
        (home / "hold").unlink()
    _want(host, run, Intent.RUN)


def _report(host: Host, home: Path, run: str) -> None:
    """Its record is reported while it is read, twice."""
    _wait(host, run, _going)
    record = contract.read_stream(run_store(host.service.database.run(run)), 2, "metrics")
    for _ in range(2):
        host.service.reports.take_in(Reporter(run, 2), run, 2, 2, 0, record)
    (home / "hold").unlink(missing_ok=True)


def _delete(host: Host, home: Path, run: str) -> None:
    """Deleted once it is over; by whom it was cut off, somebody else finishes it."""
    database, backend = host.service.database, host.loop.controller.backend
    if database.deleted_run(run) is None:
        _wait(host, run, _over)
        host.service.keeping.delete(LOCAL, run)
    deadline = time.monotonic() + SECONDS
    while backend.launches() or database.removals():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the folder of {run} is not removed")
        time.sleep(0.005)


FLOWS: Mapping[str, Callable[[Host, Path, str], None]] = {
    "submit": _plain,
    "publish": _plain,
    "evicted": _plain,
    "cancel": _cancel,
    "pause": _pause,
    "report": _report,
    "delete": _delete,
}


def _submitted(host: Host, home: Path, spec: str) -> str:
    """The run that the key gets, or had got before it was deleted."""
    asked = wire.Submission(spec=spec, base=str(home))
    try:
        run = host.service.runs.submit(LOCAL, asked, "the key").id
    except ConflictError as error:
        run = str(error).split(",")[0]
        if host.service.database.deleted_run(run) is None:
            raise
    with (home / "answers").open("a") as answers:
        answers.write(f"{run}\n")
    return run


def _live(trial: Mapping[str, Any]) -> None:
    """One life of a service: submit with the same key as every life before, and see the flow to its end."""
    home = Path(trial["home"])
    twins.PLACE = home
    boundaries = Boundaries(home / "boundaries", trial["name"], trial["count"])
    boundaries.watch([twins.TrackerTwin, twins.RegistryTwin])
    settings = _settings(home)
    if trial["flow"] == "delete":
        sweep.SWEEP_SECONDS = 0.05
    spec = SPEC + (PUBLISH if trial["flow"] == "publish" else "")
    with open_host(settings) as host:
        backend = QuickBackend(settings)
        host.loop.controller = replace(host.loop.controller, backend=backend)
        boundaries.armed = True
        with host.driving():
            run = _submitted(host, home, spec)
            FLOWS[trial["flow"]](host, home, run)
            if host.service.database.deleted_run(run) is None:
                _wait(host, run, _over)
        boundaries.armed = False
    (home / "reached").write_text(str(boundaries.reached))


def main() -> None:
    _hasten()
    for line in sys.stdin:
        trial = json.loads(line)
        errors = Path(trial["home"]) / "errors"
        child = os.fork()
        if child == 0:
            try:
                _live(trial)
            except BaseException:
                errors.write_text(traceback.format_exc())
                os._exit(1)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps(errors.read_text() if code > 0 else -code or None), flush=True)


if __name__ == "__main__":
    main()
