"""What a command shows while it waits for a run: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from types import TracebackType
from typing import TYPE_CHECKING, Self

import click

from orchestrator.cli.drawn import draw, erase
from orchestrator.cli.output import columns, cut, note, sparkline
from orchestrator.cli.units import duration
from orchestrator.runs import Status

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.wire import Event, Point, Run

PLAIN_SECONDS = 10.0
RECENT = 20
_LONGEST_BAR, _MOST_BARS = 40, 24


def make_progress(client: Client, *, watch: bool | None = None) -> Progress:
    """The live view where stderr is a terminal that can redraw and nobody said `--no-watch`."""
    able = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    wanted = not os.environ.get("CI") if watch is None else watch
    return Progress(client, live=able and wanted)


@dataclass(frozen=True)
class Figures:
    """What is known of a run's training: losses and speed so far, and its steps in all."""

    losses: Sequence[Point]
    total: int
    tokens_per_second: float | None = None
    eval_loss: float | None = None
    lost_steps: int = 0

    @property
    def step(self) -> int:
        return self.losses[-1].step if self.losses else 0

    @property
    def seconds_left(self) -> float | None:
        """Time to the last step at the pace of the newest steps; a pause between two of them says nothing."""
        recent = self.losses[-RECENT:]
        paces = [(b.time - a.time) / (b.step - a.step) for a, b in pairwise(recent) if b.step > a.step]
        return median(paces) * max(0, self.total - self.step) if paces else None


def figures_of(client: Client, run: Run) -> Figures:
    """The newest figures of a run."""
    found = client.metrics(run.id, "loss", "tokens_per_second", "eval_loss")
    rates, evaluated = found["tokens_per_second"][-RECENT:], found["eval_loss"]
    return Figures(
        losses=found["loss"],
        total=run.total_steps or 0,
        tokens_per_second=sum(point.value for point in rates) / len(rates) if rates else None,
        eval_loss=evaluated[-1].value if evaluated else None,
        lost_steps=run.lost_steps,
    )


@dataclass
class Progress:
    """A line for every change of a run's state that it is told, and below it how far the run is."""

    client: Client
    live: bool
    _since: float = field(default_factory=time.monotonic)
    _printed: float | None = None
    _line: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        erase()

    def tell(self, event: Event) -> None:
        """Print a change of the run's state."""
        self._since, self._printed = time.monotonic(), None
        note(state_line(event))

    def show(self, run: Run) -> None:
        """Show how far the run is."""
        if run.status.final:
            return
        if self.live:
            draw(self._view(run))
        elif run.status is Status.TRAINING and self._is_time:
            self._print(plain_line(figures_of(self.client, run)))

    @property
    def _is_time(self) -> bool:
        return self._printed is None or time.monotonic() - self._printed > PLAIN_SECONDS

    def _view(self, run: Run) -> list[str]:
        if run.status is Status.TRAINING and (figures := figures_of(self.client, run)).losses:
            return live_lines(figures, columns() - 1)
        return [f"  {duration(time.monotonic() - self._since)}"]

    def _print(self, line: str) -> None:
        """A plain line, where it says something new."""
        self._printed = time.monotonic()
        if line != self._line:
            self._line = line
            note(f"  {line}")


def live_lines(figures: Figures, width: int) -> list[str]:
    """A bar of the steps with the time left, and below it losses and speed, in lines of `width`."""
    share = min(1.0, figures.step / figures.total) if figures.total else 0.0
    counted = f"{figures.step}/{figures.total}  {share:4.0%}"
    left = figures.seconds_left
    tail = f"  {counted}" + (f"  {duration(left)} left" if left else "")
    length = max(5, min(_LONGEST_BAR, width - len(tail) - 2))
    done = round(length * share)
    bar = click.style("━" * done, fg="green") + click.style("─" * (length - done), dim=True)
    room = width - len("  " + "   ".join(_parts(figures, 0))) - 1
    told = "  " + "   ".join(_parts(figures, max(0, min(_MOST_BARS, room))))
    return [f"  {bar}{cut(tail, width - length - 2)}", cut(told, width)]


def plain_line(figures: Figures) -> str:
    """Step of total, losses, speed and time left: as far as each is known."""
    if not figures.losses:
        return "before its first step"
    left = figures.seconds_left
    parts = [f"step {figures.step}/{figures.total}", *_parts(figures, 0)]
    return "  ".join([*parts, *([f"{duration(left)} left"] if left else [])])


def state_line(event: Event) -> str:
    """The status, why, and the words that came with it."""
    why = event.sentence or event.reason
    head = f"{event.status}: {why}" if why else event.status
    return f"{head} {event.message}".rstrip()


def _parts(figures: Figures, bars: int) -> list[str]:
    losses = [point.value for point in figures.losses]
    course = f" {sparkline(losses, bars)}" if bars else ""
    parts = [f"loss {losses[-1]:.4f}{course}"]
    if figures.eval_loss is not None:
        parts.append(f"validation {figures.eval_loss:.4f}")
    if figures.tokens_per_second is not None:
        parts.append(f"{figures.tokens_per_second:,.0f} tokens/s")
    if figures.lost_steps:
        parts.append(f"{figures.lost_steps} step{'s' if figures.lost_steps != 1 else ''} lost")
    return parts
