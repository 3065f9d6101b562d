"""What every backend promises, as tests: a backend's own module derives from this and gives a `lab`.

class TestDocker(EnginePromises):
    @pytest.fixture
    def lab(self) -> Lab: ...
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import wait

from orchestrator.backends import Backend, LaunchRequest, ReportTo
from orchestrator.errors import BackendError
from orchestrator.reasons import Reason
from orchestrator.runs import Observation, Phase


class Lab(ABC):
    """One backend, with the program stand_in.py where the trainer would be."""

    @abstractmethod
    def backend(self) -> Backend:
        """The backend as a fresh process of ours would make it; whatever time it grants to leave is short."""

    @abstractmethod
    def crippled(self) -> Backend:
        """The backend with settings under which nothing can be started."""

    @abstractmethod
    def request(self, run: str = "run-a") -> LaunchRequest:
        """A launch of the train step, which has not been launched."""

    @abstractmethod
    def folder(self, launch: LaunchRequest) -> Path:
        """The folder of its run, made if need be, which the stand-in may write to."""

    @abstractmethod
    def kill(self, launch: LaunchRequest) -> None:
        """SIGKILL its program from outside, as nobody here would."""

    def starts(self, launch: LaunchRequest) -> list[str]:
        file = self.folder(launch) / "starts"
        return file.read_text().split() if file.exists() else []

    def leave(self, launch: LaunchRequest, how: object) -> None:
        temporary = self.folder(launch) / ".leave"
        temporary.write_text(str(how))
        temporary.replace(self.folder(launch) / "leave")

    @contextmanager
    def listening(self) -> Iterator[ReportTo]:
        """Where launches report to, with somebody there who says `welcome`."""
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
            Path(folder).chmod(0o755)
            place, token = Path(folder) / "reports.sock", Path(folder) / "token"
            token.touch(0o600)
            token.write_text("a token of its own")
            listener.bind(str(place))
            place.chmod(0o666)
            with welcoming(listener):
                yield ReportTo(f"unix://{place}", token)

    def started(self, backend: Backend, run: str = "run-a") -> LaunchRequest:
        """A launch whose program has started."""
        launch = self.request(run)
        self.folder(launch)
        backend.launch(launch)
        wait(lambda: self.starts(launch))
        return launch


@contextmanager
def welcoming(listener: socket.socket) -> Iterator[None]:
    """Somebody who says `welcome` to whoever connects."""
    listener.listen()

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                with listener.accept()[0] as connection:
                    connection.sendall(b"welcome")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    yield
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()


class EngineLab(Lab):
    """A backend that asks somebody else, who may be away, and who limits memory."""

    @abstractmethod
    def away(self) -> Backend:
        """The backend while nobody answers it."""


class BackendPromises:
    """Launched once, adopted, stopped, told apart, forgotten."""

    def test_a_launch_runs_and_ends(self, lab: Lab) -> None:
        backend = lab.backend()
        assert backend.observe(lab.request().name) == Observation(Phase.MISSING)
        launch = lab.started(backend)
        assert backend.observe(launch.name).phase is Phase.RUNNING
        lab.leave(launch, 0)
        assert ended(backend, launch).exit_code == 0
        assert "hello from launch 1" in backend.logs(launch.name)

    def test_it_reports_with_a_credential_of_its_own(self, lab: Lab) -> None:
        backend = lab.backend()
        with lab.listening() as report:
            launch = dataclasses.replace(lab.request(), report=report)
            said = lab.folder(launch) / "report"
            backend.launch(launch)
            wait(said.exists)
        token, word = said.read_text().splitlines()
        assert word == "welcome"
        if backend.vouches:
            assert backend.holder(token) == launch.name
            assert backend.holder(token[:-5]) is None
        else:
            assert report.token
            assert (token, backend.holder(token)) == ("a token of its own", None)
        lab.leave(launch, 0)
        ended(backend, launch)

    @pytest.mark.parametrize("code", [65, 70, 75])
    def test_it_ends_with_its_code(self, lab: Lab, code: int) -> None:
        backend = lab.backend()
        launch = lab.started(backend)
        lab.leave(launch, code)
        seen = ended(backend, launch)
        assert (seen.exit_code, seen.reason) == (code, None)
        assert str(code) in seen.detail

    def test_launching_twice_is_one_launch(self, lab: Lab) -> None:
        first, second = lab.backend(), lab.backend()
        launch = lab.started(first)
        first.launch(launch)
        second.launch(launch)
        lab.leave(launch, 0)
        ended(first, launch)
        second.launch(launch)
        assert second.observe(launch.name).phase is Phase.ENDED
        assert len(lab.starts(launch)) == 1

    def test_a_restarted_service_adopts_what_runs(self, lab: Lab) -> None:
        launch = lab.started(lab.backend())
        adopted = lab.backend()
        assert adopted.observe(launch.name).phase is Phase.RUNNING
        assert adopted.launches() == [launch.name]
        adopted.stop(launch.name, now=0.0)
        gone(adopted, launch)
        assert (lab.folder(launch) / "asked").exists()

    def test_what_does_not_listen_is_made_to_leave(self, lab: Lab) -> None:
        backend = lab.backend()
        (lab.folder(lab.request()) / "deaf").touch()
        launch = lab.started(backend)
        backend.stop(launch.name, now=0.0)
        assert backend.observe(launch.name).alive
        backend.stop(launch.name, now=10_000.0)
        gone(backend, launch)
        assert not (lab.folder(launch) / "asked").exists()

    def test_stopping_what_is_missing_or_has_ended_is_fine(self, lab: Lab) -> None:
        backend = lab.backend()
        backend.stop(lab.request().name, now=0.0)
        launch = lab.started(backend)
        lab.leave(launch, 0)
        ended(backend, launch)
        backend.stop(launch.name, now=1.0)
        assert backend.observe(launch.name).exit_code == 0

    def test_a_killed_launch_has_ended(self, lab: Lab) -> None:
        backend = lab.backend()
        launch = lab.started(backend)
        lab.kill(launch)
        assert ended(backend, launch).exit_code not in (0, 75)
        assert lab.backend().observe(launch.name).phase is Phase.ENDED

    def test_launches_are_known_until_they_are_removed(self, lab: Lab) -> None:
        backend = lab.backend()
        backend.remove(lab.request().name)
        first, second = lab.started(backend, "run-a"), lab.started(backend, "run-b")
        assert sorted(backend.launches()) == [first.name, second.name]
        lab.leave(first, 0)
        ended(backend, first)
        backend.remove(first.name)
        backend.remove(second.name)  # it is alive, and stays
        assert lab.backend().launches() == [second.name]
        assert backend.observe(first.name) == Observation(Phase.MISSING)
        assert backend.observe(second.name).phase is Phase.RUNNING

    def test_what_cannot_start_is_refused_and_leaves_nothing(self, lab: Lab) -> None:
        launch = lab.request()
        lab.folder(launch)
        with pytest.raises(BackendError) as caught:
            lab.crippled().launch(launch)
        assert caught.value.hint
        assert lab.backend().observe(launch.name) == Observation(Phase.MISSING)
        lab.started(lab.backend())


class EnginePromises(BackendPromises):
    """What may go wrong between us and an engine, and what an engine knows better."""

    def test_nobody_answering_is_no_ending(self, lab: EngineLab) -> None:
        launch = lab.started(lab.backend())
        away = lab.away()
        seen = away.observe(launch.name)
        assert (seen.phase, seen.reason) == (Phase.UNKNOWN, None)
        assert seen.detail
        with pytest.raises(BackendError):
            away.launch(dataclasses.replace(launch, launch=2))
        assert lab.backend().observe(launch.name).phase is Phase.RUNNING

    def test_what_outgrows_its_memory_is_said_so(self, lab: EngineLab) -> None:
        backend = lab.backend()
        launch = lab.started(backend)
        lab.leave(launch, "memory")
        assert ended(backend, launch).reason is Reason.OUT_OF_MEMORY


def ended(backend: Backend, launch: LaunchRequest) -> Observation:
    return wait(lambda: seen if (seen := backend.observe(launch.name)).phase is Phase.ENDED else None)


def gone(backend: Backend, launch: LaunchRequest) -> None:
    """It has left after being stopped: an engine may have forgotten it altogether."""
    wait(lambda: backend.observe(launch.name).phase in (Phase.ENDED, Phase.MISSING))
