"""What grows while a run goes on: points of metrics, what is reported of them, what attempts print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field, StringConstraints

from orchestrator.wire.base import Told

MAX_POINTS = 50_000  # of all metrics in one answer
Seen = Annotated[str, StringConstraints(pattern=r"^(?:attempt|launch)-[0-9]{1,9}:[0-9]{1,15}$")]


class Point(Told):
    """One value of one metric at one step."""

    step: int
    value: float
    time: float


class Series(Told):
    """The points of one metric, by step; `count` is how many there are in the range asked for."""

    key: str
    count: int
    points: list[Point]


class Reported(Told):
    """How far the service knows an attempt's metric record."""

    offset: int = Field(description="Bytes of the record that it knows, from whichever source.")
    again: float = Field(
        description="Seconds until it would hear more: the more launches report, the longer."
    )


class LogPart(Told):
    """A piece of what an attempt printed; `attempt` is None for a launch that never began one."""

    launch: int
    attempt: int | None = None
    offset: int = Field(description="Where in the attempt's whole log this begins, in bytes.")
    size: int = Field(description="How many bytes of it this is.")
    text: str

    @property
    def name(self) -> str:
        """The name of the whole text, as `seen` counts its bytes."""
        return f"launch-{self.launch}" if self.attempt is None else f"attempt-{self.attempt}"


def seen_text(seen: Mapping[str, int]) -> list[str]:
    """Where a reader of logs stands, as the parameter `seen` says it."""
    return [f"{text}:{size}" for text, size in seen.items()]


def parse_seen(texts: Sequence[str]) -> dict[str, int]:
    """The opposite of `seen_text`."""
    return {name: int(size) for name, _, size in (text.partition(":") for text in texts)}
