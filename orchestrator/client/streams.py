"""Follow a run over streams that connect again by themselves, from where the reader stands."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping

import httpx
from pydantic import ValidationError

from orchestrator import wire
from orchestrator.client.connection import OpenStream
from orchestrator.client.patience import Passing, Wait
from orchestrator.errors import UnreachableError

Change = wire.Event | wire.Run | None

_FOREIGN = "the stream holds something that is not this service's"


def changes(open_stream: OpenStream, after: int, heartbeat: float, wait: Wait) -> Generator[Change]:
    """What happens to a run: its events once each, the run whenever it changed, None for every sign of
    life between them and before every pause while there is none; it ends with the run.

    Raises:
        UnreachableError: the service stays away.
    """
    while True:
        came = False
        try:
            with open_stream({"Last-Event-ID": str(after)}, {"heartbeat": heartbeat}) as answer:
                for kind, data in _messages(answer):
                    came = True
                    wait.over()
                    if kind == "end":
                        return
                    change = _change(kind, data)
                    if isinstance(change, wire.Event):
                        after = change.id
                    yield change
            if not came:
                raise Passing(UnreachableError("the stream ends before anything comes of it"))
        except Passing as failure:
            yield None
            wait.after(failure)


def log_parts(
    open_stream: OpenStream, seen: Mapping[str, int], ended: Callable[[], bool], wait: Wait
) -> Iterator[wire.LogPart]:
    """The parts of a run's logs beyond `seen`, as they are written; `ended` tells whether the run has.

    Raises:
        UnreachableError: the service stays away.
    """
    read = dict(seen)
    while True:
        try:
            over = ended()
            with open_stream({}, {"seen": wire.seen_text(read)}) as answer:
                for line in _lines(answer):
                    wait.over()
                    if line.strip():
                        part = _log_part(line)
                        read[part.name] = part.offset + part.size
                        yield part
            wait.over()
            if over:
                return
        except Passing as failure:
            wait.after(failure)


def _lines(answer: httpx.Response) -> Iterator[str]:
    """The lines of an answer as they come. Of all that httpx and Python take for the end of a line only this
    one cannot stand within JSON; U+2028 and U+0085 do."""
    begun = b""
    for block in answer.iter_bytes():
        *whole, begun = (begun + block).split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode(errors="replace")
    if begun:
        yield begun.decode(errors="replace")


def _log_part(line: str) -> wire.LogPart:
    try:
        return wire.LogPart.model_validate_json(line)
    except ValidationError as error:
        raise UnreachableError(_FOREIGN) from error


def _messages(answer: httpx.Response) -> Iterator[tuple[str, str]]:
    """The kind and data of each server-sent event; a comment is one without a kind."""
    kind = data = ""
    for line in _lines(answer):
        name, _, value = line.partition(":")
        if name == "event":
            kind = value.strip()
        elif name == "data":
            data += value.removeprefix(" ")
        elif not line and kind:
            yield kind, data
            kind = data = ""
        elif line.startswith(":"):
            yield "", ""


def _change(kind: str, data: str) -> Change:
    """What a message says; None for what this client does not know."""
    kinds: Mapping[str, type[wire.Event] | type[wire.Run]] = {"event": wire.Event, "run": wire.Run}
    try:
        return kinds[kind].model_validate(json.loads(data)) if kind in kinds else None
    except (ValueError, ValidationError) as error:
        raise UnreachableError(_FOREIGN) from error
