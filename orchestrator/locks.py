"""Lock files: held by a process, and by what it hands them on to, for exactly as long as that lives."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def try_lock(path: Path) -> Iterator[int | None]:
    """The file at `path`, made if need be, open and locked; None where somebody else holds it.

    The descriptor is closed at the end. A child that inherited it goes on holding the lock.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield handle
    finally:
        os.close(handle)
