"""How much of an upload or download is there, on one line of a terminal; nothing elsewhere."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Self

from orchestrator.cli.drawn import draw, erase
from orchestrator.cli.output import columns, cut

_DRAW_SECONDS = 0.1
_QUIET_SECONDS = 1.0  # what goes in a moment needs no line


@dataclass
class Moved:
    """Counts bytes; `word` says what is done with them, `total` is None where nobody knows."""

    word: str
    total: int | None = None
    done: int = 0
    _began: float = field(default_factory=time.monotonic, repr=False)
    _drawn: float = field(default=0.0, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        erase()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._began

    def add(self, size: int) -> None:
        """So many bytes more are there."""
        self.done += size
        now = time.monotonic()
        if not sys.stderr.isatty() or now - self._began < _QUIET_SECONDS or now - self._drawn < _DRAW_SECONDS:
            return
        self._drawn = now
        draw([cut(self._line(), columns() - 1)])

    def _line(self) -> str:
        done = f"{self.done / 1e6:,.1f}"
        if not self.total:
            return f"  {self.word} {done} MB"
        return f"  {self.word} {done} of {self.total / 1e6:,.1f} MB  {self.done / self.total:4.0%}"
