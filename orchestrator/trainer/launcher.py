"""One child process: its output pumped, signals forwarded, its true exit code returned."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType

from orchestrator.contract import Store, StreamWriter

FLUSH_SECONDS = 1.0
_READ_BYTES = 64 * 1024
_DRAIN_SECONDS = 5.0


class Stopped(BaseException):
    """SIGTERM or SIGINT came while there was no child to forward it to."""


class Signals:
    """SIGTERM and SIGINT of this process. As PID 1 it would not get them without a handler."""

    def __init__(self) -> None:
        self.stopping = False
        self._child: int | None = None
        self._raising = False

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        """Inside, a signal raises Stopped; one that came before raises it at once."""
        self._raising = True
        try:
            if self.stopping:
                raise Stopped
            yield
        finally:
            self._raising = False

    def forward_to(self, child: int) -> None:
        """Forward to this child from now on, and a signal that came while it was started."""
        self._child = child
        if self.stopping:
            self._forward()

    def forget(self) -> None:
        self._child = None

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True
        if self._child is not None:
            self._forward()
        elif self._raising:
            self._raising = False  # once: a second signal must not break the leaving
            raise Stopped

    def _forward(self) -> None:
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGTERM)


class Log:
    """The attempt's log: to our own output at once, to storage about each second.

    Storage that is away delays the log and never stops the attempt.
    """

    def __init__(self, run: Store, attempt: int) -> None:
        self._writer = StreamWriter(run, attempt, "log")
        self._flushed = time.monotonic()

    def say(self, text: str) -> None:
        self.write(f"[trainer] {text}\n".encode())

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads our output any more
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        self._writer.append(data)

    def flush(self, *, due: bool = False) -> None:
        """Write what is new; with `due`, only a second or more after the last time."""
        if due and time.monotonic() - self._flushed < FLUSH_SECONDS:
            return
        self._flushed = time.monotonic()
        with contextlib.suppress(OSError):
            self._writer.flush()


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
    signals.forward_to(child.pid)
    child.returncode = _wait(child.pid)
    signals.forget()
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
        readable, _, _ = select.select([pipe], [], [], FLUSH_SECONDS)
        if readable:
            data = os.read(pipe, _READ_BYTES)
            if not data:
                return
            log.write(data)
        log.flush(due=True)
