"""The ranks of a step: one child process each, their output pumped, signals forwarded, true exit codes."""

from __future__ import annotations

import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from orchestrator.contract.program import LOG_SECONDS, Log
from orchestrator.signals import Signals

LAST_WORDS_SECONDS = 5.0  # for the other ranks, once one has failed
_POLL_SECONDS = 0.02
_READ_BYTES = 64 * 1024
_DRAIN_SECONDS = 5.0


@dataclass(frozen=True)
class Child:
    """One rank to be: its environment, and the open files that it alone inherits."""

    rank: int
    environment: Mapping[str, str]
    handles: Sequence[int] = ()


@dataclass(frozen=True)
class Exit:
    """How a rank left: its exit code, negative for the signal that killed it.

    `ours` says that it was killed from here, since another rank had failed before.
    """

    rank: int
    code: int
    ours: bool = False


def run_children(
    command: Sequence[str], children: Sequence[Child], *, folder: Path, signals: Signals, log: Log
) -> list[Exit]:
    """Run the command once per child until all have ended; their exits, in the order they were seen.

    When one rank has failed, the others wait for it in a collective call and would never come back: they
    get a few seconds for their last words and are killed. Otherwise a child that takes long to leave
    is never killed from here: it may be writing a checkpoint, and whoever set the grace period ends all.
    """
    group = _Group([(child.rank, _start(command, child, folder)) for child in children])
    alone = len(children) == 1
    pumps = [_pumping(rank, process, log, alone=alone) for rank, process in group.running.values()]
    with signals.forwarding(*group.running):
        group.wait()
    for pump in pumps:
        pump.join(_DRAIN_SECONDS)  # a worker of a child's may still hold the pipe
    return group.exits


class _Group:
    """Children that end together."""

    def __init__(self, started: Sequence[tuple[int, subprocess.Popen[bytes]]]) -> None:
        self.running = {process.pid: (rank, process) for rank, process in started}
        self.exits: list[Exit] = []
        self._deadline: float | None = None
        self._killed = False

    def wait(self) -> None:
        """Look often instead of waiting in the system call: a signal that the kernel hands to another thread
        of ours, as to a pump that just starts one, does not interrupt it, and would not be heard."""
        while self.running:
            if not self._reap():
                self._pass_time()

    def _reap(self) -> bool:
        """Take the next child that has ended; as PID 1 that may be any orphan."""
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended in self.running:
            rank, process = self.running.pop(ended)
            process.returncode = os.waitstatus_to_exitcode(status)
            self.exits.append(Exit(rank, process.returncode, ours=self._killed))
            if process.returncode and self._deadline is None:
                self._deadline = time.monotonic() + LAST_WORDS_SECONDS
        return ended != 0

    def _pass_time(self) -> None:
        if self._deadline is not None and not self._killed and time.monotonic() >= self._deadline:
            self._killed = True
            for _, process in self.running.values():
                process.kill()
        time.sleep(_POLL_SECONDS)


def _start(command: Sequence[str], child: Child, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        cwd=folder,
        env=dict(child.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=child.handles,
    )


def _pumping(rank: int, process: subprocess.Popen[bytes], log: Log, *, alone: bool) -> threading.Thread:
    """Rank 0 speaks for the step; every line of another rank's says whose it is."""
    assert process.stdout is not None
    write = log.write if alone else _Lines(f"[rank {rank}] ".encode() if rank else b"", log)
    pump = threading.Thread(target=_pump, args=(process.stdout, write, log), daemon=True)
    pump.start()
    return pump


class _Lines:
    """Writes whole lines, so that two ranks never share one; an empty write ends the last."""

    def __init__(self, prefix: bytes, log: Log) -> None:
        self._prefix, self._log, self._open = prefix, log, b""

    def __call__(self, data: bytes) -> None:
        lines, self._open = (self._open + data).splitlines(keepends=True), b""
        if lines and not lines[-1].endswith((b"\n", b"\r")):
            self._open = lines.pop()
        if not data and self._open:
            lines.append(self._open + b"\n")
        if lines:
            self._log.write(b"".join(self._prefix + line for line in lines))


def _pump(pipe: IO[bytes], write: Callable[[bytes], None], log: Log) -> None:
    """Until the pipe ends; it stays open for as long as this runs, though its process be gone."""
    while True:
        readable, _, _ = select.select([pipe], [], [], LOG_SECONDS)
        if readable:
            data = os.read(pipe.fileno(), _READ_BYTES)
            write(data)
            if not data:
                return
        log.flush(due=True)
