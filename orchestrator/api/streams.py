"""Streams that stay open: what happens to a run as server-sent events, and its logs as they are written.

A stream ends by itself after `STREAM_SECONDS`, and sooner where its key is revoked (`welcome`): who
follows connects again, from where it stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.concurrency import iterate_in_threadpool, run_in_threadpool

from orchestrator import wire
from orchestrator.api.feed import Feed
from orchestrator.service import Caller, Service

STREAM_SECONDS = 300.0
HEARTBEAT_SECONDS = 15
PAGE = 100
LOG_SECONDS = (0.5, 1.0, 2.0, 3.0)  # between two looks at a log that stays as it is


@dataclass(frozen=True)
class Streams:
    """The streams of one application."""

    service: Service
    feed: Feed

    async def events(self, caller: Caller, run: str, after: int, heartbeat: float) -> AsyncIterator[str]:
        """Events after that id, and the run whenever anything of it changed, until it has ended.

        `event: event` has an id and a body `Event`, `event: run` a body `Run`; `event: end` says that no
        more will come. A comment is sent every `heartbeat` seconds.
        """
        until = _now() + STREAM_SECONDS
        told: wire.Run | None = None
        yield "retry: 1000\n\n"
        async with self.feed.watching(run) as changed:
            while _now() < until:
                changed.clear()
                standing = await run_in_threadpool(self.service.runs.run, caller, run)
                async for event in self._after(caller, run, after):
                    after = event.id
                    yield _sent("event", event.model_dump_json(), event.id)
                if standing != told:
                    told = standing
                    yield _sent("run", standing.model_dump_json())
                if standing.status.final and standing.tracked:
                    yield _sent("end", "{}")
                    return
                while _now() < until and not await _came(changed, heartbeat):
                    yield ": alive\n\n"

    async def _after(self, caller: Caller, run: str, after: int) -> AsyncIterator[wire.Event]:
        """All events after that id, a few at a time: a reader that takes none of them keeps no more."""
        while page := await run_in_threadpool(self.service.runs.events, caller, run, after, PAGE):
            for event in page:
                after = event.id
                yield event

    async def logs(self, caller: Caller, run: str, seen: dict[str, int]) -> AsyncIterator[str]:
        """The parts of a run's logs as lines of JSON, as they are written, until the run has ended; an
        empty line now and then says that the stream is alive."""
        until, quiet, spoke = _now() + STREAM_SECONDS, 0, _now()
        async with self.feed.watching(run) as changed:
            while _now() < until:
                changed.clear()
                standing = await run_in_threadpool(self.service.runs.run, caller, run)
                before = spoke
                parts = await run_in_threadpool(self.service.runs.logs, caller, run, dict(seen))
                async for part in iterate_in_threadpool(parts):
                    seen[part.name] = part.offset + part.size
                    spoke = _now()
                    yield part.model_dump_json() + "\n"
                if standing.status.final:
                    return
                quiet = 0 if spoke > before else min(quiet + 1, len(LOG_SECONDS) - 1)
                if _now() - spoke > HEARTBEAT_SECONDS:
                    spoke = _now()
                    yield "\n"
                await _came(changed, LOG_SECONDS[quiet])


def _now() -> float:
    return asyncio.get_running_loop().time()


async def _came(changed: asyncio.Event, seconds: float) -> bool:
    """Whether a change came within so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return False
    return True


def _sent(kind: str, data: str, number: int | None = None) -> str:
    """One server-sent event; JSON of one line has no line end in it."""
    head = "" if number is None else f"id: {number}\n"
    return f"{head}event: {kind}\ndata: {data}\n\n"
