"""Answers that are good for a while, so that whoever looks at a thousand launches asks once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Remembered(Generic[T]):
    """What `ask` said of a key, for so many seconds of a clock that may be set back."""

    def __init__(self, seconds: float, ask: Callable[[str], T], clock: Callable[[], float]) -> None:
        self._seconds, self._ask, self._clock = seconds, ask, clock
        self._lock = threading.Lock()
        self._answers: dict[str, tuple[float, T]] = {}

    def of(self, key: str) -> T:
        """Raises what `ask` raises; that is not remembered."""
        with self._lock:
            known = self._answers.get(key)
            if known and 0 <= self._clock() - known[0] < self._seconds:
                return known[1]
            answer = self._ask(key)
            self._answers[key] = (self._clock(), answer)
            return answer
