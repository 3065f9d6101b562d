"""Quantities as people read them: sizes, counts, times and how long things take."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from orchestrator.machines import GIB

if TYPE_CHECKING:
    from orchestrator.wire import Event


def size(value: float) -> str:
    """Bytes in the unit that gives one to three digits before the point."""
    for factor, unit in ((GIB, "GiB"), (1024**2, "MiB")):
        if value >= factor:
            return f"{value / factor:.{1 if value < 100 * factor else 0}f} {unit}"
    return f"{value / 1024:.0f} KiB" if value >= 1024 else f"{value:.0f} B"


def short(value: float) -> str:
    """A figure to four digits; from a thousand on as a whole number."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"


def count(number: int) -> str:
    """A number of parameters as people say it: 7.2 B, 0.6 M."""
    for factor, unit in ((10**9, "B"), (10**6, "M")):
        if number >= 0.5 * factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number:,}"


def moment(seconds: float) -> str:
    """A time as text, in UTC to the second."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def to_the_minute(when: float) -> str:
    """A time as text, in UTC to the minute."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(when))


def age(seconds: float) -> str:
    """How long ago, as kubectl writes it: 45s, 12m, 3h, 2d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(max(0, seconds))}s"


def elapsed(started: float, ended: float | None) -> str:
    """How long something took, or has taken until now."""
    return duration((time.time() if ended is None else ended) - started)


def often(event: Event) -> str:
    """How often an event happened, where it stands for several."""
    return "" if event.since is None else f"({event.count:,} times since {moment(event.since)})"


def duration(seconds: float) -> str:
    """Minutes and seconds, or hours: 0:42, 12:05, 3:01:09."""
    whole = round(max(0.0, seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def time_line(seconds: float, at_most: float | None) -> str:
    """How long it should take: about so long, or from so long to so long."""
    if at_most is None or span(at_most) == span(seconds):
        return f"about {span(seconds)}"
    return f"{span(seconds)} to {span(at_most)}"


def span(seconds: float) -> str:
    """How long, roughly: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
