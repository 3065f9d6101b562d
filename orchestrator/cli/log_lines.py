"""What a log looks like: each line as a terminal shows it in the end, however often it was written over."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.wire import LogPart


class LogReader:
    """Reads the parts of a run's logs, those of one attempt or of all, and remembers how far it came.

    `seen` has how many bytes of each text were read. With `raw` the texts stay as they were printed.
    """

    def __init__(self, attempt: int | None, raw: bool) -> None:
        self.seen: dict[str, int] = {}
        self.begun = ""
        self._attempt = attempt
        self._raw = raw
        self._newest: LogPart | None = None

    def read(self, parts: Iterable[LogPart], *, all_there: bool) -> Iterator[tuple[LogPart, str]]:
        """Whole lines as they come, each beside the part that ends it.

        The line that a text ends in waits in `begun` for the rest of it, until another text begins or, where
        this is `all_there` is to read, the parts end.
        """
        for part in parts:
            if self._attempt not in (None, part.attempt):
                continue
            if self._newest and self._newest.name != part.name:
                yield from self._end()
            self._newest = part
            self.seen[part.name] = part.offset + part.size
            yield part, part.text if self._raw else self._whole_lines(part.text)
        if all_there:
            yield from self._end()

    def _whole_lines(self, text: str) -> str:
        *whole, begun = (self.begun + text).split("\n")
        *before, last = begun.split("\r")
        self.begun = f"{shown(begun)}\r{last}" if before else last  # what it shows, and where it is written
        return "".join(f"{shown(line)}\n" for line in whole if not line or shown(line))

    def _end(self) -> Iterator[tuple[LogPart, str]]:
        line, self.begun = shown(self.begun), ""
        if self._newest and line:
            yield self._newest, f"{line}\n"


def shown(line: str) -> str:
    """A line in its last state: what follows a carriage return is written over what was there."""
    if "\r" not in line:
        return line
    cells = ""
    for text in line.split("\r"):
        cells = text + cells[len(text) :]
    return cells.rstrip()


def newest_lines(read: Sequence[tuple[LogPart, str]], lines: int) -> list[tuple[LogPart, str]]:
    """The last lines of the texts taken together."""
    kept: list[tuple[LogPart, str]] = []
    for part, text in reversed(read):
        split = list(io.StringIO(text, newline="\n"))
        chosen = split[max(0, len(split) - lines) :]
        lines -= len(chosen)
        kept.append((part, "".join(chosen)))
    return kept[::-1]
