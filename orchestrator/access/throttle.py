"""How often an address may come with credentials that are none, in bounded memory."""

from __future__ import annotations

import hashlib
import ipaddress
import threading
from collections import OrderedDict, deque

from orchestrator.errors import ThrottledError

FAILURES, SECONDS = 20, 60.0  # so many in so long
MOST = 10_000  # addresses, and credentials, that are remembered


class Throttle:
    """Remembers who failed of late, and which credentials were good. Failures of a time that is yet to come
    were before the clock was set back, and are over.

    A good credential is let through from any address: people behind one proxy share theirs, and one of
    them must not be able to lock the others out.
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, address: str, credential: str, now: float) -> None:
        """Raises ThrottledError for an address that failed too often, and a credential not known as good."""
        with self._lock:
            failures = self._failures.get(_network(address), ())
            if (
                sum(0 <= now - time < SECONDS for time in failures) >= FAILURES
                and _digest(credential) not in self._good
            ):
                raise ThrottledError(hint=f"try again in {SECONDS:g} seconds, with a credential that is good")

    def failed(self, address: str, now: float) -> None:
        """Remember a failure."""
        with self._lock:
            network = _network(address)
            self._failures.setdefault(network, deque(maxlen=FAILURES)).append(now)
            _bounded(self._failures, network)

    def good(self, credential: str) -> None:
        """Remember a credential that was good, by its digest."""
        with self._lock:
            digest = _digest(credential)
            self._good[digest] = None
            _bounded(self._good, digest)


def _network(address: str) -> str:
    """An address, or the network that one holder of IPv6 addresses has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(parsed if parsed.version == 4 else ipaddress.ip_network((parsed, 64), strict=False))


def _digest(credential: str) -> bytes:
    return hashlib.sha256(credential.encode()).digest()


def _bounded(memory: OrderedDict, used: object) -> None:  # type: ignore[type-arg]
    """Keep the `MOST` that were used last."""
    memory.move_to_end(used)
    if len(memory) > MOST:
        memory.popitem(last=False)
