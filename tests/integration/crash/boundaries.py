"""Every place where the service touches something that outlives it, by name, and a way to die there.

The service itself knows nothing of this. Its seams are few (database, storage, backend, MLflow, registry) and
are wrapped from outside; within and beside them Python itself tells of each file, folder, link, process and
connection that is about to be made, changed or removed. So no boundary can be forgotten.

    before the commit of database.move for Controller._act    and `after`; for which function of the service
    before storage.write for Plan.write                 a seam, and `after` it
    before os.rename in FileStore.write for ..          one step of the operating system
    with nothing written in LocalBackend._asked_to_stop a file that was opened to be written is still empty
    before reading storage.keys                         what changes nothing: a death there is one before it
"""

from __future__ import annotations

import builtins
import functools
import inspect
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import sqlalchemy as sa

import orchestrator
from orchestrator.backends.local import LocalBackend
from orchestrator.contract import FileStore
from orchestrator.db import Database
from orchestrator.db.transactions import Transactions

SERVICE = str(Path(orchestrator.__file__).parent)
STEPS = {
    *("open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate"),
    *("os.chmod", "os.utime", "os.kill", "os.killpg", "os.posix_spawn", "subprocess.Popen"),
    *("socket.connect", "socket.sendto"),
}
_WRITING = os.O_WRONLY | os.O_RDWR
_LABELS = {
    "Database": "database",
    "FileStore": "storage",
    "LocalBackend": "backend",
    "QuickBackend": "backend",
}
_NO_BOUNDARY = {
    *("reading", "writing", "snapshot", "under", "by", "record", "close"),  # of the database
    *("below", "local", "request", "check", "on_news"),
}
_BEHIND_A_SEAM = tuple(f"{SERVICE}/{part}" for part in ("db/", "contract/", "backends/", "locks.py"))
_CHANGES = {"write", "create", "delete", "put", "launch", "stop", "remove"}
_CHANGES_MLFLOW = ("log_", "set_", "ensure_", "finish", "push")


def changing(kind: type) -> set[str]:
    """The methods of a seam's class that change something, as the points call them."""
    return {f"{_label(kind)}.{name}" for name in _methods(kind) if _changes(kind, name)}


def _methods(kind: type) -> list[str]:
    return [
        name
        for name in dir(kind)
        if not name.startswith("_") and callable(getattr(kind, name)) and name not in _NO_BOUNDARY
    ]


def _changes(kind: type, name: str) -> bool:
    if issubclass(kind, Database):
        return ".writing(" in inspect.getsource(getattr(kind, name))
    return name in _CHANGES or name.startswith(_CHANGES_MLFLOW)


def _label(kind: type) -> str:
    return _LABELS.get(kind.__name__, kind.__name__)


@dataclass
class Boundaries:
    """Counts the boundaries as they are reached; dies at the first one of a name, or at the n-th of those
    where something changes.

    `record` is the file that the names are appended to, as they are reached for the first time.
    """

    record: Path = Path()
    name: str | None = None
    count: int | None = None
    armed: bool = False
    reached: int = 0
    _names: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _within: threading.local = field(default_factory=threading.local)

    def reach(self, name: str, *, changes: bool = True) -> None:
        if not self.armed:
            return
        with self._lock, self._unheard():
            self.reached += changes
            if name not in self._names:
                self._names.add(name)
                with self.record.open("a") as record:
                    record.write(f"{name}\n")
            if name == self.name or (changes and self.reached == self.count):
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, twins: list[type]) -> None:
        """Wrap the seams, and hear of every step; `twins` are the classes that stand for foreign services."""
        for kind in [Database, FileStore, LocalBackend, *twins]:
            for name in _methods(kind):
                setattr(kind, name, self._watched(kind, name))
        Transactions.writing = self._committing(Transactions.writing)  # type: ignore[method-assign]
        os.posix_spawn = self._around("backend.spawn", os.posix_spawn, changes=True)
        builtins.open = io.open = self._opened(io.open)
        os.open = self._opened(os.open)
        sys.addaudithook(self._hear)

    def _watched(self, kind: type, name: str) -> Callable[..., Any]:
        changes = _changes(kind, name)
        commits = changes and issubclass(kind, Database)
        return self._around(f"{_label(kind)}.{name}", getattr(kind, name), changes=changes, commits=commits)

    def _around(
        self, name: str, act: Callable[..., Any], *, changes: bool, commits: bool = False
    ) -> Callable[..., Any]:
        """What `commits` needs no point of its own: nothing happens but between those of its commit."""

        @functools.wraps(act)
        def around(*arguments: Any, **named: Any) -> Any:
            if not self.armed:
                return act(*arguments, **named)
            before = getattr(self._within, "act", None)
            self._within.act = point = _by(name, _asker(sys._getframe(1))) if changes else f"reading {name}"
            try:
                if not commits:
                    self.reach(f"before {point}", changes=changes)
                found = act(*arguments, **named)
                if not commits:
                    self.reach(f"after {point}", changes=changes)
            finally:
                self._within.act = before
            return found

        return around

    def _committing(self, writing: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        def committing(database: Transactions, **named: Any) -> Iterator[sa.Connection]:
            name = getattr(self._within, "act", None) or "database"
            with writing(database, **named) as connection:
                yield connection
                self.reach(f"before the commit of {name}")
            self.reach(f"after the commit of {name}")

        return committing

    def _opened(self, opening: Callable[..., Any]) -> Callable[..., Any]:
        """The moment between a file's being there and its having a content."""

        @functools.wraps(opening)
        def opened(*arguments: Any, **named: Any) -> Any:
            self._within.writes = None
            file = opening(*arguments, **named)
            if place := getattr(self._within, "writes", None):
                self._within.writes = None
                self.reach(f"with nothing written in {place}")
            return file

        return opened

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in STEPS or not self.armed or getattr(self._within, "deaf", False):
            return
        if event == "open" and not _is_written(*arguments):
            return
        place = _place(sys._getframe(1))
        if place is not None:
            self.reach(f"before {event} in {place}")
            self._within.writes = place if event == "open" else None

    @contextmanager
    def _unheard(self) -> Iterator[None]:
        self._within.deaf = True
        try:
            yield
        finally:
            self._within.deaf = False


def _is_written(path: object, _mode: object, flags: object) -> bool:
    return isinstance(flags, int) and bool(flags & _WRITING) and not str(path).endswith(".pyc")


def _place(frame: FrameType | None) -> str | None:
    """The function of the service that takes a step, and on whose behalf; None where a twin does, or the
    proof itself."""
    while frame is not None and not _is_ours(frame):
        frame = frame.f_back
    if frame is None or not frame.f_code.co_filename.startswith(SERVICE):
        return None
    asker, name = _asker(frame), frame.f_code.co_qualname
    return name if asker == name else _by(name, asker)


def _asker(frame: FrameType | None) -> str | None:
    """The nearest function of the service that is not part of a seam."""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(SERVICE) and not file.startswith(_BEHIND_A_SEAM):
            return frame.f_code.co_qualname
        frame = frame.f_back
    return None


def _by(name: str, asker: str | None) -> str:
    return f"{name} for {asker}" if asker else name


def _is_ours(frame: FrameType) -> bool:
    """Whether a frame is the service's, or a twin's, not one of a library or of these wrappers."""
    file = frame.f_code.co_filename
    return file.startswith((SERVICE, _HERE)) and file != __file__


_HERE = str(Path(__file__).parent)
