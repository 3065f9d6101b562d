"""Every place where the service touches something that outlives it, by name, and a way to die there.

The service itself knows nothing of this. Its seams are few (database, storage, backend, MLflow, registry),
so wrapping them from outside finds every boundary, and none can be forgotten.
"""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from orchestrator.backends.local import LocalBackend
from orchestrator.contract import FileStore
from orchestrator.db import Database
from orchestrator.db.transactions import Transactions


@dataclass
class Boundaries:
    """Counts the boundaries as they are reached; dies at the first one of a name, or at the n-th of all.

    `record` is the file that the names are appended to, as they are reached for the first time.
    """

    record: Path
    name: str | None = None
    count: int | None = None
    armed: bool = False
    reached: int = 0
    _names: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _within: threading.local = field(default_factory=threading.local)

    def reach(self, name: str) -> None:
        if not self.armed:
            return
        with self._lock:
            self.reached += 1
            if name not in self._names:
                self._names.add(name)
                with self.record.open("a") as record:
                    record.write(f"{name}\n")
            if name == self.name or self.reached == self.count:
                os.kill(os.getpid(), signal.SIGKILL)

    def watch(self, twins: list[type]) -> None:
        """Wrap the seams; `twins` are the classes that stand where foreign services would."""
        for kind in [Database, FileStore, LocalBackend, *twins]:
            for name in dir(kind):
                if not name.startswith("_") and callable(getattr(kind, name)) and name not in _NO_BOUNDARY:
                    setattr(kind, name, self._watched(kind, name))
        Transactions.writing = self._committing(Transactions.writing)  # type: ignore[method-assign, arg-type]
        os.posix_spawn = self._around("backend.spawn", os.posix_spawn)

    def _watched(self, kind: type, name: str) -> Callable[..., Any]:
        return self._around(f"{_LABELS.get(kind.__name__, kind.__name__)}.{name}", getattr(kind, name))

    def _around(self, name: str, act: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(act)
        def around(*arguments: Any, **named: Any) -> Any:
            before = getattr(self._within, "act", None)
            self._within.act = name
            try:
                self.reach(f"before {name}")
                found = act(*arguments, **named)
                self.reach(f"after {name}")
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


_LABELS = {
    "Database": "database",
    "FileStore": "storage",
    "LocalBackend": "backend",
    "QuickBackend": "backend",
}
_NO_BOUNDARY = {"reading", "writing", "snapshot", "under", "close", "below", "local", "request", "check"}
