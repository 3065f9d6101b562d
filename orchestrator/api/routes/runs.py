"""`/api/v1/runs`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from orchestrator import wire
from orchestrator.api.who import CallerOf, ServiceOf
from orchestrator.runs import Intent, Status
from orchestrator.service.runs import MAX_PAGE

router = APIRouter(prefix="/runs", tags=["runs"])

_PROBLEMS: dict[int | str, dict[str, Any]] = {
    404: {"model": wire.ProblemBody},
    409: {"model": wire.ProblemBody},
}


@router.post("", status_code=202, responses=_PROBLEMS)
def submit(
    asked: wire.Submission,
    service: ServiceOf,
    caller: CallerOf,
    answer: Response,
    idempotency_key: Annotated[wire.IdempotencyKey | None, Header()] = None,
) -> wire.RunDetail:
    """Submit a spec. The same `Idempotency-Key` with the same body gives the same run."""
    run = service.runs.submit(caller, asked, idempotency_key)
    answer.headers["Location"] = f"/api/v1/runs/{run.id}"
    return run


@router.get("")
def page(
    service: ServiceOf,
    caller: CallerOf,
    status: Annotated[list[Status], Query()] = [],  # noqa: B006
    name: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    cursor: str | None = None,
) -> wire.RunPage:
    """Runs, newest first, by pages."""
    return service.runs.page(caller, status=status, name=name, limit=limit, cursor=cursor)


@router.get("/{run}", responses=_PROBLEMS)
def detail(run: str, service: ServiceOf, caller: CallerOf) -> wire.RunDetail:
    """One run, by its id or as the newest of a spec's name."""
    return service.runs.detail(caller, run)


@router.post("/{run}/cancel", status_code=202, responses=_PROBLEMS)
def cancel(run: str, service: ServiceOf, caller: CallerOf) -> wire.Run:
    """Stop a run; its newest checkpoint stays."""
    return service.runs.want(caller, run, Intent.CANCEL)


@router.post("/{run}/pause", status_code=202, responses=_PROBLEMS)
def pause(run: str, service: ServiceOf, caller: CallerOf) -> wire.Run:
    """Stop a run for now, after a checkpoint."""
    return service.runs.want(caller, run, Intent.PAUSE)


@router.post("/{run}/resume", status_code=202, responses=_PROBLEMS)
def resume(run: str, service: ServiceOf, caller: CallerOf) -> wire.Run:
    """Go on with a paused run."""
    return service.runs.want(caller, run, Intent.RUN)


@router.post("/{run}/publish", status_code=202, responses=_PROBLEMS)
def publish(run: str, service: ServiceOf, caller: CallerOf) -> wire.Run:
    """Push a finished adapter to the registries that lack it, now."""
    return service.results.publish(caller, run)


@router.get("/{run}/verify", responses=_PROBLEMS)
def verify(run: str, service: ServiceOf, caller: CallerOf) -> dict[str, list[str]]:
    """Re-read what was published of a run: what is untrue of it, by reference."""
    return service.results.verify(caller, run)


@router.get("/{run}/attempts", responses=_PROBLEMS)
def attempts(run: str, service: ServiceOf, caller: CallerOf) -> list[wire.Attempt]:
    """The attempts of a run, oldest first."""
    return service.runs.attempts(caller, run)


@router.get("/{run}/events", responses=_PROBLEMS)
def events(
    run: str,
    service: ServiceOf,
    caller: CallerOf,
    after: Annotated[int, Query(ge=0, le=wire.MAX_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> list[wire.Event]:
    """What happened to a run after the event `after`, oldest first."""
    return service.runs.events(caller, run, after, limit)


@router.get("/{run}/metrics", responses=_PROBLEMS)
def metrics(
    run: str,
    service: ServiceOf,
    caller: CallerOf,
    key: Annotated[list[str], Query()] = [],  # noqa: B006
    points: Annotated[int, Query(ge=1, le=100_000)] = 1000,
) -> list[wire.Series]:
    """The points of a run's metrics, thinned out to `points` each."""
    return service.runs.metrics(caller, run, key, points)


@router.get("/{run}/config", response_class=PlainTextResponse, responses=_PROBLEMS)
def config(run: str, service: ServiceOf, caller: CallerOf) -> PlainTextResponse:
    """The Axolotl config of the newest launch."""
    return PlainTextResponse(service.runs.config(caller, run), media_type="application/yaml")


@router.get("/{run}/logs", responses=_PROBLEMS)
def logs(
    run: str,
    service: ServiceOf,
    caller: CallerOf,
    seen: Annotated[list[str], Query()] = [],  # noqa: B006
) -> StreamingResponse:
    """What a run's attempts printed, as lines of JSON (`LogPart`).

    `seen` says where the reader stands, such as `attempt-1:2048`, in bytes.
    """
    parts = service.runs.logs(caller, run, wire.parse_seen(seen))
    return StreamingResponse(_lines(parts), media_type="application/x-ndjson")


def _lines(parts: Iterator[wire.LogPart]) -> Iterator[str]:
    for part in parts:
        yield part.model_dump_json() + "\n"
