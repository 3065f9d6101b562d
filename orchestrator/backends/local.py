"""Launches as processes of this machine, alive exactly as long as their lock file is held.

Each launch is one process group of its own. Before the process exists the backend takes an
exclusive `flock` on the launch's lock file and lets the process inherit it, so the kernel frees
the lock when the process is gone, however it went. Whoever comes later, after any crash of ours,
needs nothing but the file: locked means running, free and marked means ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orchestrator
from orchestrator.backends import LaunchRequest, token_file
from orchestrator.backends.asked import first_asked
from orchestrator.contract import REPORT_TOKEN, REPORT_URL, run_key
from orchestrator.errors import BackendError
from orchestrator.locks import try_lock
from orchestrator.runs import Observation, Phase
from orchestrator.settings import Settings

# The shell marks the lock file and writes its own number, then becomes the program: whatever happens to us,
# a launch is marked as soon as there is a process of it, and not before.
_SHIM = 'echo launched >&3 && cd "$(dirname "$0")" && echo $$ > "$0" && exec "$@"'
_LOCK_HANDLE = 3
_LOG_BYTES = 1024 * 1024


class LocalBackend:
    """Runs launches beside us; their state lies in `<home>/local`."""

    grace_seconds = 120.0
    vouches = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.home / "local"
        self._ours: dict[str, int] = {}
        self._exit_codes: dict[str, int] = {}
        self._asking = threading.RLock()  # who asks holds the launch's lock for a moment
        self._hear: Callable[[str], None] = lambda _name: None
        self._awaited: set[str] = set()

    def request(self, launch: LaunchRequest) -> Mapping[str, Any]:
        return {
            "command": self._command(launch),
            "environment": self._environment(launch),
            "log": str(self._path(launch.name, "log")),
        }

    def check(self, launch: LaunchRequest) -> None:
        """This machine refuses none; what its trainer lacks is said when a spec is submitted."""

    def launch(self, launch: LaunchRequest) -> None:
        self._check(launch)
        self._folder.mkdir(parents=True, exist_ok=True)
        with try_lock(self._path(launch.name, "lock")) as lock:
            if lock is None or os.pread(lock, 1, 0):
                return  # running, or has been
            self._ours[launch.name] = self._start(launch, lock)
        self._await(launch.name, self._ours[launch.name])

    def observe(self, name: str) -> Observation:
        with self._asking:
            seen = self._observe(name)
        if seen.phase is Phase.RUNNING and name not in self._awaited:
            self._await(name, self._pid(name))
        return seen

    def _observe(self, name: str) -> Observation:
        exit_code = self._reap(name)
        path = self._path(name, "lock")
        if not path.exists():
            return Observation(Phase.MISSING)
        with try_lock(path) as lock:
            if lock is None or name in self._ours:  # dying, it frees the lock before it can be waited for
                return Observation(Phase.RUNNING)
            if not os.pread(lock, 1, 0):
                return Observation(Phase.MISSING)
        return Observation(Phase.ENDED, exit_code, _spoken(exit_code))

    def on_news(self, hear: Callable[[str], None]) -> None:
        self._hear = hear

    def stop(self, name: str, now: float) -> None:
        if self.observe(name).phase is not Phase.RUNNING:
            return
        asked = first_asked(self._path(name, "stop"), now)
        self._signal(name, signal.SIGTERM if now - asked < self.grace_seconds else signal.SIGKILL)

    def logs(self, name: str) -> str:
        path = self._path(name, "log")
        return path.read_bytes()[-_LOG_BYTES:].decode(errors="replace") if path.exists() else ""

    def launches(self) -> Sequence[str]:
        return sorted(path.stem for path in self._folder.glob("*.lock") if _is_marked(path))

    def remove(self, name: str) -> None:
        if self.observe(name).phase is Phase.ENDED:
            for kind in ("log", "stop", "pid", "lock"):
                self._path(name, kind).unlink(missing_ok=True)
            token_file(self._settings.home, name).unlink(missing_ok=True)
            self._exit_codes.pop(name, None)
            self._awaited.discard(name)

    def note_checkpoint(self, name: str, step: int, saved: float) -> None:
        """Nobody takes its place."""

    def holder(self, credential: str) -> str | None:
        return None

    def close(self) -> None:
        """Nothing is held."""

    def _check(self, launch: LaunchRequest) -> None:
        python = self._python(launch)
        if not python.exists():
            raise BackendError(
                f"the trainer's Python is not at {python}",
                hint="make its environment with `scripts/setup trainer`, or set AXO_TRAINER_PYTHON",
            )

    def _start(self, launch: LaunchRequest, lock: int) -> int:
        """Spawn the program as the leader of a session of its own, the lock among its handles."""
        shim = ["/bin/sh", "-c", _SHIM, str(self._path(launch.name, "pid"))]
        log = os.open(self._path(launch.name, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            return os.posix_spawn(
                shim[0],
                [*shim, *self._command(launch)],
                {**os.environ, **self._environment(launch)},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                    (os.POSIX_SPAWN_DUP2, lock, _LOCK_HANDLE),
                ],
                setsid=True,
            )
        finally:
            os.close(log)

    def _command(self, launch: LaunchRequest) -> list[str]:
        module = "orchestrator.steps" if launch.step == "prepare" else "orchestrator.trainer"
        folder = f"{launch.storage}/{run_key(launch.run)}"
        return [str(self._python(launch)), "-m", module, folder, str(launch.launch)]

    def _python(self, launch: LaunchRequest) -> Path:
        return Path(sys.executable) if launch.step == "prepare" else self._settings.trainer_python

    def _environment(self, launch: LaunchRequest) -> dict[str, str]:
        common = {"AXO_SCRATCH": str(self._settings.home / "scratch"), "PYTHONUNBUFFERED": "1"}
        if launch.step == "prepare":
            common |= {"AXO_HOME": str(self._settings.home), "AXO_SECRETS": str(self._settings.secrets)}
            return {**common, "PYTHONPATH": str(Path(orchestrator.__file__).parent.parent)}
        if launch.report:
            common |= {REPORT_URL: launch.report.url, REPORT_TOKEN: str(launch.report.token)}
        if launch.storage.startswith("s3://"):
            common["AXO_SECRETS"] = str(self._settings.secrets)
        return {**common, "PYTHONPATH": str(package_alone(self._folder)), "PYTHONNOUSERSITE": "1"}

    def _reap(self, name: str) -> int | None:
        """The exit code of a launch that this very process started, once it has ended."""
        if name in self._ours:
            pid, status = os.waitpid(self._ours[name], os.WNOHANG)
            if pid:
                del self._ours[name]
                self._exit_codes[name] = os.waitstatus_to_exitcode(status)
        return self._exit_codes.get(name)

    def _signal(self, name: str, number: signal.Signals) -> None:
        pid = self._pid(name)
        if pid is None:
            return  # it is between lock and shell; the next call finds it
        with contextlib.suppress(ProcessLookupError):
            if number is signal.SIGKILL:
                os.killpg(pid, number)
            else:
                os.kill(pid, number)

    def _pid(self, name: str) -> int | None:
        """The number that the launch's shell wrote, once it has."""
        path = self._path(name, "pid")
        text = path.read_text().strip() if path.exists() else ""
        return int(text) if text else None

    def _await(self, name: str, pid: int | None) -> None:
        """Tell when a process ends, from a thread of its own."""
        if pid is not None and name not in self._awaited and hasattr(os, "pidfd_open"):
            self._awaited.add(name)
            threading.Thread(
                target=self._tell_end, args=(name, pid), name=f"end of {name}", daemon=True
            ).start()

    def _tell_end(self, name: str, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(pid)
            try:
                ended = select.poll()  # `select` itself takes no handle of 1024 or more
                ended.register(handle, select.POLLIN)
                ended.poll()
            finally:
                os.close(handle)
        self._hear(name)

    def _path(self, name: str, kind: str) -> Path:
        return self._folder / f"{name}.{kind}"


def package_alone(folder: Path) -> Path:
    """A folder in `folder` that holds this package and nothing else of the service's environment."""
    package = Path(orchestrator.__file__).parent
    alone = folder / "import"
    link = alone / "orchestrator"
    if not link.is_symlink() or link.readlink() != package:
        alone.mkdir(parents=True, exist_ok=True)
        fresh = alone / f".link-{os.getpid()}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(package)
        fresh.replace(link)
    return alone


def _is_marked(lock: Path) -> bool:
    """Whether a launch began; what is removed at this moment is no launch any more."""
    try:
        return lock.stat().st_size > 0
    except FileNotFoundError:
        return False


def _spoken(exit_code: int | None) -> str:
    if exit_code is None:
        return "the process is gone"
    if exit_code < 0:
        return f"the process was ended by {signal.Signals(-exit_code).name}"
    return f"the process left with exit code {exit_code}"
