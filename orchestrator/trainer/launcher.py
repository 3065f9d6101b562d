"""One child process: its output pumped, signals forwarded, its true exit code returned."""

from __future__ import annotations

import os
import select
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from orchestrator.contract.program import LOG_SECONDS, Log
from orchestrator.signals import Signals

_READ_BYTES = 64 * 1024
_DRAIN_SECONDS = 5.0


def run_child(
    command: Sequence[str], *, folder: Path, environment: Mapping[str, str], signals: Signals, log: Log
) -> int:
    """Run the command until it ends; its exit code, negative for the signal that killed it.

    A child that takes long to leave is never killed from here: it may be writing a checkpoint, and
    whoever set the grace period ends both.
    """
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert child.stdout is not None
    pump = threading.Thread(target=_pump, args=(child.stdout.fileno(), log), daemon=True)
    pump.start()
    with signals.forwarding(child.pid):
        child.returncode = _wait(child.pid)
    pump.join(_DRAIN_SECONDS)  # a worker of the child's may still hold the pipe
    return child.returncode


def _wait(child: int) -> int:
    """Wait for the child; as PID 1, reap every orphan that ends meanwhile."""
    which = -1 if os.getpid() == 1 else child
    while True:
        ended, status = os.waitpid(which, 0)
        if ended == child:
            return os.waitstatus_to_exitcode(status)


def _pump(pipe: int, log: Log) -> None:
    while True:
        readable, _, _ = select.select([pipe], [], [], LOG_SECONDS)
        if readable:
            data = os.read(pipe, _READ_BYTES)
            if not data:
                return
            log.write(data)
        log.flush(due=True)
