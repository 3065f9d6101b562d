"""How long a client waits for a service that is away, or that asks to be asked again, and whom it tells."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from orchestrator.errors import OrchestratorError

AWAY_SECONDS = 5.0  # for a service that does not answer: its URL may be wrong
BUSY_SECONDS = 30.0  # for one that says itself that it can be asked again
FOLLOW_SECONDS = 900.0  # for one that a stream was open to
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 5.0

UNSENT = (httpx.ConnectError, httpx.ConnectTimeout)
CUT = (*UNSENT, httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError, httpx.CloseError)


class Passing(Exception):
    """A failure that may be over soon: `error` is raised where it is not.

    `least` is for how many seconds the service wants to be left alone, None where it did not answer; `lost`
    is whether it may have done what was asked, and its answer did not come.
    """

    def __init__(self, error: OrchestratorError, least: float | None = None, *, lost: bool = False) -> None:
        super().__init__(str(error))
        self.error, self.least, self.lost = error, least, lost


@dataclass
class Patience:
    """`told` hears why the service is waited for, before every pause, and None once that was not in vain."""

    sleep: Callable[[float], None] = time.sleep
    told: Callable[[str | None], None] = lambda _: None
    away: float = AWAY_SECONDS
    busy: float = BUSY_SECONDS
    draw: Callable[[], float] = random.random

    @contextmanager
    def of(self, seconds: float) -> Iterator[None]:
        """So many seconds of patience at least, for the length of a `with` block."""
        before = self.away, self.busy
        self.away, self.busy = max(seconds, self.away), max(seconds, self.busy)
        try:
            yield
        finally:
            self.away, self.busy = before


class Wait:
    """The pauses between the tries of one thing: each longer than the one before, and never quite as long as
    another client's. It is `lost` once an answer was: an earlier try may have done the thing."""

    def __init__(self, patience: Patience, least: float = 0.0) -> None:
        self._patience, self._least = patience, least
        self._waited, self._next = 0.0, FIRST_PAUSE
        self.lost = False

    def after(self, failure: Passing) -> None:
        """Pause before another try.

        Raises:
            OrchestratorError: the failure's error, where patience ends.
        """
        self.lost |= failure.lost
        patience = self._patience
        limit = max(self._least, patience.away if failure.least is None else patience.busy)
        pause = max(self._next, failure.least or 0.0) * (1 + patience.draw() / 2)
        if self._waited + pause > limit:
            raise failure.error from failure.__cause__
        patience.told(str(failure.error))
        patience.sleep(pause)
        self._waited, self._next = self._waited + pause, min(2 * self._next, LONGEST_PAUSE)

    def over(self) -> None:
        """Something came: the next failure is a new one."""
        if self._waited:
            self._patience.told(None)
            self._waited, self._next = 0.0, FIRST_PAUSE


def tls_hint(error: BaseException) -> str | None:
    """What to do about a failure of TLS, which no waiting mends; None where it is no such failure."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return None
    if isinstance(cause, ssl.SSLCertVerificationError):
        return "this machine does not trust its certificate: SSL_CERT_FILE names a file of other authorities"
    return "it may not speak TLS there: try http:// instead of https://"


def wanted_pause(answer: httpx.Response) -> float | None:
    """After how many seconds a request may be made again; None where it was answered for good.

    The service says so in `Retry-After`; without it only something between us and the service says that.
    """
    said = answer.headers.get("retry-after")
    if answer.status_code in (429, 503) and said is not None:
        return float(said) if said.isdecimal() else FIRST_PAUSE
    return FIRST_PAUSE if is_foreign(answer) and answer.status_code in (502, 503, 504) else None


def is_foreign(answer: httpx.Response) -> bool:
    """Whether something between us and the service answers."""
    return not answer.headers.get("x-request-id")
