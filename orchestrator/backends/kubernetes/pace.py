"""So many requests a second and no more, so that the API server is everybody's; what waits is counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from prometheus_client import Counter

REQUESTS = Counter("axo_kubernetes_requests_total", "Requests to the cluster's API server.", ["verb"])
WAITED = Counter(
    "axo_kubernetes_throttle_seconds_total", "How long such requests waited for `requests_per_second`."
)


class Pacer:
    """Grants turns in the order in which they are asked for, after a rest as many at once as in a second."""

    def __init__(
        self,
        per_second: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._each, self._clock, self._sleep = 1.0 / per_second, clock, sleep
        self._ahead = max(0.0, 1.0 - self._each)  # how much earlier than its turn one may come
        self._turn = clock()
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when it is one's turn."""
        with self._lock:
            now = self._clock()
            turn = max(self._turn, now)
            self._turn = turn + self._each
        wait = turn - self._ahead - now
        if wait > 0:
            WAITED.inc(wait)
            self._sleep(wait)
