"""Ends an answer that is still being sent when its asker's credential is good no more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.errors import AuthError, OrchestratorError

AGAIN_SECONDS = 5.0  # how long a stream may outlive its credential


class Welcome:
    """One answer, and a look now and then at whether whoever gets it still may; `ask` raises AuthError
    where not. An answer that is done before the first look costs no more than a timer."""

    def __init__(self, ask: Callable[[], Awaitable[object]]) -> None:
        self._ask = ask
        self._begun, self._over = False, False
        self._watching: asyncio.Task[None] | None = None

    async def answer(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application; a stream that is cut off ends as one that has no more to say."""
        answering = asyncio.current_task()
        assert answering is not None
        timer = asyncio.get_running_loop().call_later(AGAIN_SECONDS, self._watch, answering)

        async def sent(message: Message) -> None:
            self._begun = True
            await send(message)

        try:
            await app(scope, receive, sent)
        except asyncio.CancelledError:
            if not self._over:
                raise
            answering.uncancel()
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            timer.cancel()
            if self._watching is not None:
                self._watching.cancel()

    def _watch(self, answering: asyncio.Task[None]) -> None:
        self._watching = asyncio.ensure_future(self._look_again(answering))

    async def _look_again(self, answering: asyncio.Task[None]) -> None:
        while not self._over:
            try:
                await self._ask()
            except AuthError:
                if self._begun:
                    self._over = answering.cancel()
                    return
            except OrchestratorError:
                pass  # nobody can be asked now, which says nothing of the credential
            await asyncio.sleep(AGAIN_SECONDS)
