"""The local backend keeps what every backend promises, with real processes."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

import pytest
from backend_promises import BackendPromises, Lab, ended

from orchestrator.backends import Backend, LaunchRequest, open_backend
from orchestrator.backends.local import LocalBackend
from orchestrator.runs import Observation, Phase
from orchestrator.settings import MACHINES, Settings

STAND_IN = Path(__file__).parents[1] / "stand_in.py"


class LocalLab(Lab):
    def __init__(self, folder: Path) -> None:
        python = folder / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} "$@"\n')
        python.chmod(0o755)
        home = folder / "home"
        home.mkdir()
        self.settings = Settings(home, (folder / "storage").as_uri(), None, python, home / "secrets")
        self._requests: list[LaunchRequest] = []

    def backend(self) -> Backend:
        return open_backend(self.settings)

    def crippled(self) -> Backend:
        return LocalBackend(dataclasses.replace(self.settings, trainer_python=Path("/no/such/python")))

    def request(self, run: str = "run-a") -> LaunchRequest:
        launch = LaunchRequest(run, 1, "train", self.settings.storage, MACHINES["cpu"])
        self._requests.append(launch)
        return launch

    def folder(self, launch: LaunchRequest) -> Path:
        folder = Path(launch.storage.removeprefix("file://")) / "runs" / launch.run
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def kill(self, launch: LaunchRequest) -> None:
        for pid in self.starts(launch):
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                continue

    def clear(self) -> None:
        for launch in self._requests:
            self.kill(launch)


class TestLocal(BackendPromises):
    @pytest.fixture
    def lab(self, tmp_path: Path) -> Iterator[LocalLab]:
        lab = LocalLab(tmp_path)
        yield lab
        lab.clear()

    def test_it_tells_of_an_end_also_of_what_another_service_started(self, lab: LocalLab) -> None:
        first, adopter = lab.backend(), lab.backend()
        told: list[Queue[str]] = [Queue(), Queue()]
        first.on_news(told[0].put)
        adopter.on_news(told[1].put)
        launch = lab.started(first)
        assert adopter.observe(launch.name).phase is Phase.RUNNING
        lab.leave(launch, 0)
        assert [each.get(timeout=30) for each in told] == [launch.name, launch.name]
        assert first.observe(launch.name).phase is Phase.ENDED

    def test_only_who_started_it_knows_what_killed_it(self, lab: LocalLab) -> None:
        backend = lab.backend()
        launch = lab.started(backend)
        lab.kill(launch)
        assert ended(backend, launch).detail == "the process was ended by SIGKILL"
        adopted = lab.backend().observe(launch.name)
        assert adopted == Observation(Phase.ENDED, None, "the process is gone")

    def test_the_native_request_is_what_is_run(self, lab: LocalLab) -> None:
        launch = lab.request()
        command = lab.backend().request(launch)["command"]
        assert command[:3] == [str(lab.settings.trainer_python), "-m", "orchestrator.trainer"]
        assert command[3:] == [f"{launch.storage}/runs/run-a", "1"]
