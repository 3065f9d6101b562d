"""What every backend promises, proven with real processes."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator.backends import Backend, LaunchRequest
from orchestrator.backends.local import LocalBackend
from orchestrator.errors import BackendError
from orchestrator.runs import Observation, Phase
from orchestrator.settings import MACHINES, Settings

# Stands where the trainer's interpreter would: `-m orchestrator.trainer <run folder> <launch>`.
PROGRAM = """\
#!{python}
import os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[3].removeprefix("file://"))
folder.mkdir(parents=True, exist_ok=True)
with open(folder / "starts", "a") as starts:
    starts.write(f"{{os.getpid()}}\\n")
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
print("hello from", sys.argv[4], flush=True)
while not asked and not (folder / "leave").exists():
    time.sleep(0.01)
sys.exit(75 if asked else int((folder / "leave").read_text()))
"""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    program = tmp_path / "program"
    program.write_text(textwrap.dedent(PROGRAM).format(python=sys.executable))
    program.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    return Settings(home, (tmp_path / "storage").as_uri(), None, program, home / "secrets")


@pytest.fixture
def launch(settings: Settings) -> Iterator[LaunchRequest]:
    request = LaunchRequest("run-a", 1, "train", settings.storage, MACHINES["cpu"])
    yield request
    for pid in starts(request):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


@pytest.fixture(params=["local"])
def make_backend(request: pytest.FixtureRequest, settings: Settings) -> Callable[[], Backend]:
    """A backend as a fresh process of ours would make it; a new kind joins here."""
    return {"local": lambda: LocalBackend(settings)}[request.param]


def folder_of(launch: LaunchRequest) -> Path:
    return Path(launch.storage.removeprefix("file://")) / "runs" / launch.run


def starts(launch: LaunchRequest) -> list[int]:
    file = folder_of(launch) / "starts"
    return [int(line) for line in file.read_text().split()] if file.exists() else []


def leave(launch: LaunchRequest, code: int) -> None:
    (folder_of(launch) / "leave").write_text(str(code))


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 10 s"
        time.sleep(0.01)


def test_a_launch_runs_and_ends_with_its_code(
    make_backend: Callable[[], Backend], launch: LaunchRequest
) -> None:
    backend = make_backend()
    assert backend.observe(launch.name) == Observation(Phase.MISSING)
    backend.launch(launch)
    wait(lambda: starts(launch))
    assert backend.observe(launch.name).phase is Phase.RUNNING
    leave(launch, 71)
    wait(lambda: backend.observe(launch.name).phase is Phase.ENDED)
    assert backend.observe(launch.name).exit_code == 71
    assert "hello from 1" in backend.logs(launch.name)


def test_launching_twice_is_one_launch(make_backend: Callable[[], Backend], launch: LaunchRequest) -> None:
    first, second = make_backend(), make_backend()
    first.launch(launch)
    wait(lambda: starts(launch))
    first.launch(launch)
    second.launch(launch)
    leave(launch, 0)
    wait(lambda: first.observe(launch.name).phase is Phase.ENDED)
    second.launch(launch)
    assert second.observe(launch.name).phase is Phase.ENDED
    assert len(starts(launch)) == 1


def test_a_restarted_service_adopts_what_runs(
    make_backend: Callable[[], Backend], launch: LaunchRequest
) -> None:
    make_backend().launch(launch)
    wait(lambda: starts(launch))
    adopted = make_backend()
    assert adopted.observe(launch.name).phase is Phase.RUNNING
    adopted.stop(launch.name, now=0.0)
    wait(lambda: adopted.observe(launch.name).phase is Phase.ENDED)


def test_stopping_is_polite_first_and_firm_later(
    make_backend: Callable[[], Backend], launch: LaunchRequest
) -> None:
    backend = make_backend()
    backend.stop(launch.name, now=0.0)  # missing: fine
    backend.launch(launch)
    wait(lambda: starts(launch))
    os.kill(starts(launch)[0], signal.SIGSTOP)  # cannot answer politely
    backend.stop(launch.name, now=0.0)
    assert backend.observe(launch.name).phase is Phase.RUNNING
    backend.stop(launch.name, now=10_000.0)
    wait(lambda: backend.observe(launch.name).phase is Phase.ENDED)
    backend.stop(launch.name, now=10_001.0)  # ended: fine


def test_a_killed_launch_has_ended(make_backend: Callable[[], Backend], launch: LaunchRequest) -> None:
    backend = make_backend()
    backend.launch(launch)
    wait(lambda: starts(launch))
    os.kill(starts(launch)[0], signal.SIGKILL)
    wait(lambda: backend.observe(launch.name).phase is Phase.ENDED)
    assert make_backend().observe(launch.name) == Observation(Phase.ENDED, None, "the process is gone")
    assert backend.observe(launch.name).detail == "the process was ended by SIGKILL"


def test_the_native_request_is_what_is_run(
    make_backend: Callable[[], Backend], launch: LaunchRequest, settings: Settings
) -> None:
    request = make_backend().request(launch)
    assert request["command"][:3] == [str(settings.trainer_python), "-m", "orchestrator.trainer"]
    assert request["command"][3:] == [f"{launch.storage}/runs/run-a", "1"]


def test_what_cannot_start_is_refused_before_it_counts(launch: LaunchRequest, settings: Settings) -> None:
    broken = LocalBackend(dataclasses.replace(settings, trainer_python=Path("/no/such/python")))
    with pytest.raises(BackendError, match="/no/such/python"):
        broken.launch(launch)
    LocalBackend(settings).launch(launch)
    wait(lambda: starts(launch))
