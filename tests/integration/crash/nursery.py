"""Services that are born to die: one process imports everything once, and forks a service for each trial.

It reads one trial a line (JSON: home, flow, name, count, seconds), and answers with how that service ended:
`null` where it got to the end of its flow, else the number of the signal that killed it, or what went wrong.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import sys
import traceback
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import twins
from boundaries import Boundaries
from flows import FLOWS, Life, hasten

from orchestrator.backends import LaunchRequest
from orchestrator.backends.local import LocalBackend
from orchestrator.controller import due, loop, publish, rounds, ship, track
from orchestrator.host import open_host
from orchestrator.settings import Settings


class QuickBackend(LocalBackend):
    """The local backend, whose launches are the stand-in."""

    def _command(self, launch: LaunchRequest) -> list[str]:
        program = Path(__file__).with_name("stand_in.py")
        folder = f"{launch.storage}/runs/{launch.run}"
        return [sys.executable, "-S", str(program), launch.step, folder, str(launch.launch)]


def _settings(home: Path, flow: str) -> Settings:
    python = home / "python"
    python.touch()
    environment = {
        "AXO_HOME": str(home),
        "AXO_TRAINER_PYTHON": str(python),
        "AXO_MLFLOW_URI": "http://mlflow",
        "AXO_DATABASE": (home / "database").read_text(),
    }
    return replace(Settings.from_environment(environment), **FLOWS[flow].settings)


def _hasten() -> None:
    due.LOOK_SECONDS = rounds.LOOK_SECONDS = rounds.REST_SECONDS = 0.02
    due.REST_SECONDS = due.CALM_SECONDS = ship.REST_SECONDS = loop.CANDIDATE_SECONDS = 0.02
    loop.CHAIN_SECONDS = ship.LIVE_SECONDS = 0.05
    ship.REFUSED_SECONDS = 0.02
    due.AGAIN_SECONDS = (0.05,)
    track.Tracker = twins.TrackerTwin  # type: ignore[misc]
    publish.MlflowRegistry = twins.RegistryTwin  # type: ignore[misc]


def _live(trial: Mapping[str, Any], boundaries: Boundaries) -> None:
    """One life of a service."""
    home, flow = Path(trial["home"]), trial["flow"]
    twins.PLACE = home
    boundaries.record, boundaries.name, boundaries.count = home / "boundaries", trial["name"], trial["count"]
    hasten(flow)
    settings = _settings(home, flow)
    backend = QuickBackend(settings)
    with open_host(settings, backend=backend) as host:
        boundaries.armed = True
        with host.driving():
            FLOWS[flow].live(Life(host, home))
        boundaries.armed = False
    (home / "reached").write_text(str(boundaries.reached))
    (home / "imported").write_text("\n".join(sys.modules))


def _learn(home: Path) -> None:
    """Import here what a life imported, so that those after it need not.

    Some cannot be had by their own name: `psycopg_binary` not before `psycopg`, what Cython makes never.
    """
    with contextlib.suppress(FileNotFoundError):
        for name in (home / "imported").read_text().split():
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        gc.freeze()


def _ended(child: int, seconds: float | None) -> int:
    """How it ended, by itself or killed after so many seconds."""
    if seconds is not None:
        handle = os.pidfd_open(child)
        if not select.select([handle], [], [], seconds)[0]:
            os.kill(child, signal.SIGKILL)
        os.close(handle)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    _hasten()
    boundaries = Boundaries()
    boundaries.watch([twins.TrackerTwin, twins.RegistryTwin])
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        trial = json.loads(line)
        errors = Path(trial["home"]) / "errors"
        child = os.fork()
        if child == 0:
            try:
                _live(trial, boundaries)
            except BaseException:
                errors.write_text(traceback.format_exc())
                os._exit(1)
            os._exit(0)
        code = _ended(child, trial["seconds"])
        _learn(Path(trial["home"]))
        print(json.dumps(errors.read_text() if code > 0 else -code or None), flush=True)


if __name__ == "__main__":
    main()
