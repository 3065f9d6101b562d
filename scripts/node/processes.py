"""Long-running programs, each known by its process id and the moment it started, so none other is stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from node.places import LOGS, PIDS, STATE


def start(name: str, command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> None:
    """Start a program, unless it runs; what it says goes to its log."""
    if runs(name):
        return
    with (LOGS / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=STATE,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    (PIDS / name).write_text(f"{process.pid} {_started(process.pid)}")


def runs(name: str) -> bool:
    return _recorded(name) is not None


def stop(name: str, patience: float = 15) -> None:
    """SIGTERM, and SIGKILL after `patience` seconds; one that does not run is fine."""
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 5.0)):
        pid = _recorded(name)
        if pid is None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while runs(name) and time.monotonic() < deadline:
            time.sleep(0.05)
    (PIDS / name).unlink(missing_ok=True)


def kill(name: str) -> None:
    """SIGKILL, as nothing here would: for tests of what follows. `start` brings it back."""
    pid = _recorded(name)
    assert pid is not None, f"{name} does not run"
    os.kill(pid, signal.SIGKILL)


def _recorded(name: str) -> int | None:
    """The process id of a program that is still the one we started."""
    try:
        pid, started = (PIDS / name).read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if _started(int(pid)) == started else None


def _started(pid: int) -> str | None:
    """The clock tick at which a process began (field 22 of its stat); None for a dead one."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if after_name[0] == "Z" else after_name[19]
