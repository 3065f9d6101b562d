"""What `axo run` shows while it waits: one live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

from orchestrator.cli.output import duration, note, sparkline
from orchestrator.runs import REASONS, Status

if TYPE_CHECKING:
    from orchestrator.db import Point, Run
    from orchestrator.service import Service

PLAIN_SECONDS = 10.0
RECENT = 20


def make_progress(service: Service, *, plain: bool) -> Progress:
    """The live line where stderr is a terminal that can redraw, else plain lines."""
    dumb = os.environ.get("TERM") == "dumb" or bool(os.environ.get("CI"))
    return Progress(service, live=sys.stderr.isatty() and not plain and not dumb)


@dataclass
class Progress:
    """Shows a run's state each time it is asked to; prints a line of its own when the state changes."""

    service: Service
    live: bool
    _last: tuple[str, str | None, str] | None = None
    _printed: float = 0.0
    _line: str = field(default="", repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clear()

    def show(self, run: Run) -> None:
        state = (run.status.value, run.reason, run.message)
        changed, self._last = state != self._last, state
        if changed:
            self._clear()
            note(_state_line(run))
        if run.status is not Status.TRAINING:
            return
        if self.live:
            self._draw(training_line(self.service, run))
        elif changed or time.monotonic() - self._printed > PLAIN_SECONDS:
            self._print(training_line(self.service, run, bars=0))

    def _print(self, line: str) -> None:
        """A plain line, where it says something new."""
        self._printed = time.monotonic()
        if line != self._line:
            self._line = line
            note(f"  {line}")

    def _draw(self, line: str) -> None:
        width = _columns() - 1
        self._clear()
        self._line = line[:width]
        sys.stderr.write(self._line)
        sys.stderr.flush()

    def _clear(self) -> None:
        if self.live and self._line:
            sys.stderr.write("\r\x1b[2K")
            self._line = ""


def training_line(service: Service, run: Run, bars: int = 16) -> str:
    """Step of total, loss and its course, tokens a second, time left: as far as each is known."""
    losses = service.database.points(run.id, "loss")
    total = max((a.total_steps or 0 for a in service.database.attempts(run.id)), default=0)
    if not losses:
        return "before its first step"
    newest = losses[-1]
    parts = [f"step {newest.step}/{total}", f"loss {newest.value:.4f}"]
    if bars:
        parts.append(sparkline([point.value for point in losses], bars))
    if rate := service.database.points(run.id, "tokens_per_second"):
        parts.append(f"{_mean([p.value for p in rate[-RECENT:]]):,.0f} tok/s")
    if left := seconds_left(losses, total):
        parts.append(f"ETA {duration(left)}")
    return "  ".join(parts)


def seconds_left(losses: Sequence[Point], total: int) -> float | None:
    """Time to the last step at the pace of the newest steps."""
    recent = losses[-RECENT:]
    steps = recent[-1].step - recent[0].step
    if steps <= 0:
        return None
    return (recent[-1].time - recent[0].time) / steps * max(0, total - recent[-1].step)


def _state_line(run: Run) -> str:
    text = run.status.value
    if run.reason:
        text += f": {REASONS[run.reason].sentence}"
    return f"{text} {run.message}".rstrip()


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        return 80
