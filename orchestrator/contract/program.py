"""What every step's program shares: its log and its scratch folder."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path

from orchestrator.contract.store import Store
from orchestrator.contract.streams import StreamWriter

LOG_SECONDS = 1.0
STORAGE_PATIENCE = 600.0  # seconds that a step waits for storage that is away: its work is worth more


class Log:
    """The attempt's log: to our own output at once, to storage about each second.

    Storage that is away delays the log and never stops the attempt.
    """

    def __init__(self, run: Store, attempt: int, speaker: str) -> None:
        self._speaker = speaker
        self._writer = StreamWriter(run, attempt, "log")
        self._pending: deque[bytes] = deque()
        self._writing = threading.Lock()  # a pump that outlives its child may still be writing
        self._flushed = time.monotonic()
        self._beside = threading.Thread()

    def say(self, text: str) -> None:
        self.write(f"[{self._speaker}] {text}\n".encode(errors="replace"))

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads our output any more
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        self._pending.append(data)

    def flush(self, *, due: bool = False) -> None:
        """Write what is new; with `due`, beside the caller, and a second or more after the last time."""
        if not due:
            self._flush()
        elif time.monotonic() - self._flushed >= LOG_SECONDS and not self._beside.is_alive():
            self._flushed = time.monotonic()
            self._beside = threading.Thread(target=self._flush, daemon=True)
            self._beside.start()

    def _flush(self) -> None:
        with self._writing, contextlib.suppress(OSError):
            while self._pending:
                self._writer.append(self._pending.popleft())
            self._writer.flush()


@contextlib.contextmanager
def scratch_folder(run: str, attempt: int, environment: Mapping[str, str]) -> Iterator[Path]:
    """A folder of this attempt's own below `AXO_SCRATCH`, gone at the end: nothing an earlier start
    left can be taken for this one's, and what killed attempts left is removed."""
    top = Path(environment.get("AXO_SCRATCH") or tempfile.gettempdir())
    top.mkdir(parents=True, exist_ok=True)
    name = f"axo-{hashlib.sha256(run.encode()).hexdigest()[:8]}"  # short, for the sockets below it
    _clear_dead(top, name, attempt)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}-{attempt}-", dir=top))
    with _opened(folder) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # held for as long as this process lives
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _clear_dead(top: Path, name: str, attempt: int) -> None:
    """Remove what killed attempts of this run left here: nobody holds their locks any more."""
    for folder in top.glob(f"{name}-*"):
        if int(folder.name.split("-")[2]) >= attempt:
            continue
        with contextlib.suppress(OSError), _opened(folder) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
