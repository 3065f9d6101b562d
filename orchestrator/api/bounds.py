"""What a request may take: bytes, time and characters, told before a route sees it."""

from __future__ import annotations

import asyncio
import re
from collections import Counter

from fastapi import Request
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.api import problems
from orchestrator.errors import BusyError
from orchestrator.service import Caller
from orchestrator.uploads import PART_BYTES

MAX_BODY_BYTES = 512 << 10  # a spec of 128 Ki characters, its mappings, and what JSON adds
BODY_SECONDS = 20.0
PART_SECONDS = 120.0
PARTS_AT_ONCE = 16
DRAINED_BYTES = 64 << 20

_PART = re.compile(r"/api/v1/files/[0-9a-f]{64}/parts/[0-9]+")


class Bounds:
    """Refuses a body that is larger than `most` bytes, or does not arrive within `seconds`.

    A part of an uploaded file may be larger, and has the time of a slow line; so each caller may have
    `PARTS_AT_ONCE` of them under way.
    """

    def __init__(self, app: ASGIApp, most: int = MAX_BODY_BYTES, seconds: float = BODY_SECONDS) -> None:
        self._app, self._most, self._seconds = app, most, seconds
        self._parts: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        if _PART.fullmatch(scope["path"]):
            return await self._part(scope, receive, send)
        return await self._app(scope, self._bounded(scope, receive, self._most, self._seconds), send)

    async def _part(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take a part of a file, unless its sender has too many under way."""
        sender = _sender(scope)
        if self._parts[sender] >= PARTS_AT_ONCE:
            busy = BusyError("too many parts of files are on their way", hint="send fewer at a time")
            return await problems.answer(Request(scope), busy)(scope, receive, send)
        self._parts[sender] += 1
        try:
            await self._app(scope, self._bounded(scope, receive, PART_BYTES, PART_SECONDS), send)
        finally:
            self._parts[sender] -= 1
            self._parts += Counter()  # who has none is forgotten

    def _bounded(self, scope: Scope, receive: Receive, most: int, seconds: float) -> Receive:
        announced = int(dict(scope["headers"]).get(b"content-length", b"0"))
        deadline = asyncio.get_running_loop().time() + seconds
        taken, whole = 0, False

        async def piece() -> Message:
            nonlocal taken, whole
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError as error:
                text = f"the request did not arrive within {seconds:g} seconds"
                raise HTTPException(408, text, {"Connection": "close"}) from error
            taken += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            return message

        async def bounded() -> Message:
            if whole:  # what comes after the body is that the client went away: it may take its time
                return await receive()
            message = await piece()
            if max(announced, taken) <= most:
                return message
            while not whole and taken < DRAINED_BYTES:  # who is still sending would not see the answer
                await piece()
            text = f"the request is larger than {most >> 10} KiB; data is uploaded as files"
            raise HTTPException(413, text, {"Connection": "close"})

        return bounded


def _sender(scope: Scope) -> str:
    """Who sends a request, as the entrance has told."""
    caller: Caller = scope["state"]["caller"]
    return f"{caller.project}/{caller.name}"
