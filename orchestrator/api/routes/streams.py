"""`/api/v1/runs/../stream`: what stays open while a run goes on."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse

from orchestrator import wire
from orchestrator.api.problems import RESPONSES_BESIDE_TEXT
from orchestrator.api.routes.runs import Lines, RunName
from orchestrator.api.streams import HEARTBEAT_SECONDS, Streams
from orchestrator.api.who import CallerOf, ServiceOf

router = APIRouter(prefix="/runs", tags=["runs"])

_MESSAGE = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"type": "string", "enum": ["event", "run", "end"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "id": {"type": "string", "description": "Of an `event`: its id."},
    },
    "examples": [{"event": "event", "id": "7", "data": '{"id": 7, "status": "training"}'}],
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "`event` has an `Event`, `run` a `Run` whenever it changed; `end` is the last.",
        "content": {"text/event-stream": {"schema": _MESSAGE}},
    },
    **RESPONSES_BESIDE_TEXT,
}


class ServerSentEvents(StreamingResponse):
    """Events as browsers take them."""

    media_type = "text/event-stream"


def _streams(request: Request) -> Streams:
    streams: Streams = request.app.state.streams
    return streams


_StreamsOf = Annotated[Streams, Depends(_streams)]
_LAST = "The id of the last event that the reader has; goes before `after`."


@router.get("/{run}/events/stream", response_class=ServerSentEvents, responses=_EVENTS)
def follow_events(
    run: RunName,
    service: ServiceOf,
    caller: CallerOf,
    streams: _StreamsOf,
    after: Annotated[int, Query(ge=0, le=wire.MAX_ID)] = 0,
    heartbeat: Annotated[float, Query(ge=1, le=60)] = HEARTBEAT_SECONDS,
    last_event_id: Annotated[int | None, Header(ge=0, le=wire.MAX_ID, description=_LAST)] = None,
) -> ServerSentEvents:
    """Follow what happens to a run. It ends with the run, or after some minutes: connect again with
    `Last-Event-ID`."""
    found = service.runs.run(caller, run).id
    start = after if last_event_id is None else last_event_id
    return ServerSentEvents(streams.events(caller, found, start, heartbeat), headers=_UNBUFFERED)


@router.get("/{run}/logs/stream", response_class=Lines, responses=RESPONSES_BESIDE_TEXT)
def follow_logs(
    run: RunName,
    service: ServiceOf,
    caller: CallerOf,
    streams: _StreamsOf,
    seen: Annotated[list[wire.Seen], Query()] = [],  # noqa: B006
) -> Lines:
    """Follow what a run's attempts print, as lines of JSON (`LogPart`), until it ends, or for some
    minutes: connect again with `seen`."""
    found = service.runs.run(caller, run).id
    return Lines(streams.logs(caller, found, wire.parse_seen(seen)), headers=_UNBUFFERED)


_UNBUFFERED = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
