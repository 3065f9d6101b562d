"""Where launches run. A backend is a plain class behind one Protocol.

Promises every backend keeps, proven by one shared suite (`tests/backend_promises.py`):

- launching twice with one name yields one launch, also from two processes, also after a restart;
- a launch that nobody has ever seen is observed as missing, which is no error;
- stopping one that is missing or has ended is fine; stopping asks politely first (SIGTERM);
- it knows every launch of ours until that is removed, also those that nobody else remembers;
- not being able to tell is the observation UNKNOWN, never an ending.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from orchestrator.contract import StepKind
from orchestrator.errors import BackendError
from orchestrator.reasons import Reason
from orchestrator.runs import Observation
from orchestrator.settings import Machine, Settings


class BackendAway(BackendError):
    """The backend cannot be asked now; nothing is known, and it is tried again."""

    reason = Reason.UNKNOWN


class BackendFull(BackendAway):
    """The backend takes no more now; nothing was started, and it is tried again."""

    reason = Reason.QUOTA


@dataclass(frozen=True)
class ReportTo:
    """Where a launch tells how far it is, and the file with the token that it does so with; None where the
    backend gives its launches credentials of its own."""

    url: str
    token: Path | None = None


@dataclass(frozen=True)
class LaunchRequest:
    """One launch to be: whose it is, what it runs, and on which machine.

    Besides its run's folder it `reads` these folders of storage (keys), and is given these named secrets.
    `inputs` is the folder that relative paths of the spec start from, where it was submitted on the service's
    own machine. On a cluster it waits in the `queue`, where one is named; its `priority` says who goes first.
    """

    run: str
    launch: int
    step: StepKind
    storage: str
    machine: Machine
    reads: Sequence[str] = ()
    secrets: Sequence[str] = ()
    inputs: str | None = None
    report: ReportTo | None = None
    queue: str | None = None
    priority: str | None = None

    @property
    def name(self) -> str:
        return launch_name(self.run, self.launch)


class Backend(Protocol):
    """Runs launches; see the module for what it promises.

    `vouches` tells whether its launches hold credentials of its own, which `holder` knows."""

    vouches: bool

    def request(self, launch: LaunchRequest) -> Mapping[str, Any]:
        """The native request, printable, exactly as `launch` would send it."""

    def check(self, launch: LaunchRequest) -> None:
        """Say whether `launch` would be taken, as far as that can be known; nothing is made.

        Raises:
            BackendAway: the backend does not answer.
            BackendError: it would be refused, and why.
        """

    def launch(self, launch: LaunchRequest) -> None:
        """Start it, once.

        Raises:
            BackendAway: the backend does not answer; it may have been started.
            BackendError: it cannot be started here; nothing was.
        """

    def observe(self, name: str) -> Observation:
        """What is known of the launch `name` now."""

    def on_news(self, hear: Callable[[str], None]) -> None:
        """From now on call `hear` alone, from any thread, with the name of a launch that may have changed.

        What is not told is seen by asking, a little later.
        """

    def stop(self, name: str, now: float) -> None:
        """Ask it to leave; called again, and past its grace, make it leave. `now`: seconds since 1970.

        Raises:
            BackendAway: the backend does not answer.
        """

    def logs(self, name: str) -> str:
        """What it printed, as far as the backend still has it."""

    def launches(self) -> Sequence[str]:
        """The names of all launches that it holds, alive or ended."""

    def remove(self, name: str) -> None:
        """Forget one that has ended, with all that it left here; a missing one is fine, one alive stays."""

    def note_checkpoint(self, name: str, step: int, saved: float) -> None:
        """Let whoever may take its place away know of its newest checkpoint, `saved` in seconds since 1970;
        called at every look, it does something as often as is fit.

        Raises:
            BackendAway: the backend does not answer.
        """

    def holder(self, credential: str) -> str | None:
        """The name of the launch whose program holds a credential of the backend's.

        Raises:
            UnreachableError: nobody can be asked about it now.
        """

    def close(self) -> None:
        """Let go of connections; launches go on."""


def launch_name(run: str, launch: int) -> str:
    """What backends call a launch of a run."""
    return f"{run}-{launch}"


def run_of_launch(name: str) -> str:
    """The run of a launch."""
    return name.rpartition("-")[0]


def number_of_launch(name: str) -> int:
    """Which of its run's launches it is."""
    return int(name.rpartition("-")[2])


def token_file(home: Path, name: str) -> Path:
    """Where on this machine the token lies that the launch `name` reports with."""
    return home / "reports" / name


def open_backend(settings: Settings) -> Backend:
    """The backend that the settings choose.

    Raises:
        BackendError: what it needs is not installed here.
    """
    if settings.backend == "local":
        from orchestrator.backends.local import LocalBackend

        return LocalBackend(settings)
    if settings.backend == "docker":
        from orchestrator.backends.docker import DockerBackend

        return DockerBackend(settings)
    from orchestrator.backends.kubernetes import KubernetesBackend

    return KubernetesBackend(settings)
