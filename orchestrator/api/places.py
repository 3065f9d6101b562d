"""Places for what takes long: all routes share a few dozen threads, and slow ones may not have them all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import anyio.to_thread
from fastapi import Request
from fastapi.params import Depends

from orchestrator.errors import BusyError

T = TypeVar("T")


@dataclass(frozen=True)
class Slow:
    """A kind of slow request, called `what`: `most` at once; one more waits for `seconds`."""

    what: str
    most: int
    seconds: float


PLANS = Slow("plans are being made", 2, 30.0)
PROOFS = Slow("files and adapters are being read again", 8, 30.0)


class Places:
    """The places of one application. Who waits for one holds no thread."""

    def __init__(self) -> None:
        self._free: dict[Slow, asyncio.Semaphore] = {}
        self._own = anyio.CapacityLimiter(2)

    @asynccontextmanager
    async def taken(self, kind: Slow) -> AsyncIterator[None]:
        """Have a place for the length of a `with` block.

        Raises:
            BusyError: none became free.
        """
        free = self._free.setdefault(kind, asyncio.Semaphore(kind.most))
        try:
            async with asyncio.timeout(kind.seconds):
                await free.acquire()
        except TimeoutError as error:
            raise BusyError(f"too many {kind.what} now", hint="try again in a minute") from error
        try:
            yield
        finally:
            free.release()

    async def beside(self, call: Callable[[], T]) -> T:
        """Call it in a thread of those that no route has, for what must be answered however much is asked."""
        return await anyio.to_thread.run_sync(call, limiter=self._own)


def places_of(request: Request) -> Places:
    """The places of the application that is asked."""
    places: Places = request.app.state.places
    return places


def place_for(kind: Slow) -> Depends:
    """What a slow route depends on."""

    async def place(request: Request) -> AsyncIterator[None]:
        async with places_of(request).taken(kind):
            yield

    return Depends(place, scope="function")
