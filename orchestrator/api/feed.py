"""Tells open streams that their run has changed: one look at the database serves all of them.

A stream that nothing happens to costs a timer, and no thread: however many are open, the database is
asked twice every `LOOK_SECONDS` about the runs that somebody watches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

from starlette.concurrency import run_in_threadpool

LOOK_SECONDS = 0.5

Marks = Mapping[str, object]
_log = logging.getLogger(__name__)


class Feed:
    """Watches runs for as long as somebody wants to know; `marks` gives a value for each run that is
    another one whenever something of the run changed."""

    def __init__(self, marks: Callable[[Sequence[str]], Marks], seconds: float = LOOK_SECONDS) -> None:
        self._marks, self._seconds = marks, seconds
        self._watched: dict[str, set[asyncio.Event]] = {}
        self._seen: dict[str, object] = {}
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def watching(self, run: str) -> AsyncIterator[asyncio.Event]:
        """An event that is set whenever the run has changed; whoever waits for it clears it."""
        changed = asyncio.Event()
        self._watched.setdefault(run, set()).add(changed)
        if self._task is None:
            self._task = asyncio.create_task(self._turn())
        try:
            yield changed
        finally:
            self._watched[run].discard(changed)
            if not self._watched[run]:
                del self._watched[run]
                self._seen.pop(run, None)
            if not self._watched and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _turn(self) -> None:
        with suppress(asyncio.CancelledError):
            while True:
                await asyncio.sleep(self._seconds)
                try:
                    now = await run_in_threadpool(self._marks, list(self._watched))
                except Exception as error:  # the database is away: streams stay open, and hear of it later
                    _log.warning("changes of runs cannot be looked for: %s", error)
                    continue
                for run, mark in now.items():
                    if run in self._watched and self._seen.get(run) != mark:
                        self._seen[run] = mark
                        for changed in self._watched[run]:
                            changed.set()
