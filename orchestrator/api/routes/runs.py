"""`/api/v1/runs`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from orchestrator import wire
from orchestrator.api.places import PROOFS, place_for
from orchestrator.api.problems import RESPONSES_BESIDE_TEXT
from orchestrator.api.who import CallerOf, ServiceOf
from orchestrator.runs import Intent, Keep, Status
from orchestrator.service.runs import MAX_PAGE

router = APIRouter(prefix="/runs", tags=["runs"])

RunName = Annotated[wire.Word, Path(description="The id of a run, or the name of a spec: its newest run.")]


class Lines(StreamingResponse):
    """Lines of JSON, as they come."""

    media_type = "application/x-ndjson"


class Yaml(PlainTextResponse):
    """A YAML text."""

    media_type = "application/yaml"


@router.post("", status_code=202)
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
    name: Annotated[wire.Word | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 50,
    cursor: Annotated[wire.Cursor | None, Query()] = None,
) -> wire.RunPage:
    """Runs, newest first, by pages."""
    return service.runs.page(caller, status=status, name=name, limit=limit, cursor=cursor)


@router.get("/{run}")
def detail(run: RunName, service: ServiceOf, caller: CallerOf) -> wire.RunDetail:
    """One run, by its id or as the newest of a spec's name."""
    return service.runs.detail(caller, run)


@router.delete("/{run}")
def delete(run: RunName, service: ServiceOf, caller: CallerOf) -> wire.Deleted:
    """Delete the run of that very id, which has ended: records and storage. What it published stays."""
    return service.keeping.delete(caller, run)


@router.post("/{run}/pin")
def pin(run: RunName, service: ServiceOf, caller: CallerOf) -> wire.Run:
    """Keep a run and its files, also a temporary one, until it is unpinned."""
    return service.keeping.pin(caller, run, pinned=True)


@router.post("/{run}/unpin")
def unpin(run: RunName, service: ServiceOf, caller: CallerOf) -> wire.Run:
    """Let a run go its way again: it can be deleted, and a temporary one expires."""
    return service.keeping.pin(caller, run, pinned=False)


@router.post("/{run}/cancel", status_code=202)
def cancel(
    run: RunName,
    service: ServiceOf,
    caller: CallerOf,
    keep: Annotated[Keep, Query(description="Which checkpoint becomes the run's adapter.")] = Keep.LAST,
) -> wire.Run:
    """Stop a run for good; with `keep` none at once, and without a last checkpoint."""
    return service.runs.want(caller, run, Intent.CANCEL, keep)


@router.post("/{run}/pause", status_code=202)
def pause(run: RunName, service: ServiceOf, caller: CallerOf) -> wire.Run:
    """Stop a run for now, after a checkpoint."""
    return service.runs.want(caller, run, Intent.PAUSE)


@router.post("/{run}/resume", status_code=202)
def resume(run: RunName, service: ServiceOf, caller: CallerOf) -> wire.Run:
    """Go on with a paused run."""
    return service.runs.want(caller, run, Intent.RUN)


@router.post("/{run}/clone", status_code=202)
def clone(
    run: RunName,
    asked: wire.CloneAsked,
    service: ServiceOf,
    caller: CallerOf,
    answer: Response,
    idempotency_key: Annotated[wire.IdempotencyKey | None, Header()] = None,
) -> wire.RunDetail:
    """Submit a run's spec and files once more, with some fields changed."""
    made = service.runs.clone(caller, run, asked, idempotency_key)
    answer.headers["Location"] = f"/api/v1/runs/{made.id}"
    return made


@router.post("/{run}/publish", status_code=202, dependencies=[place_for(PROOFS)])
def publish(run: RunName, service: ServiceOf, caller: CallerOf) -> wire.Run:
    """Push a finished adapter, now, to the registries that lack it or hold something else by now."""
    return service.results.publish(caller, run)


@router.get("/{run}/verify", dependencies=[place_for(PROOFS)])
def verify(run: RunName, service: ServiceOf, caller: CallerOf) -> dict[str, list[str]]:
    """Re-read what was published of a run: what is untrue of it, by reference."""
    return service.results.verify(caller, run)


@router.get("/{run}/attempts")
def attempts(run: RunName, service: ServiceOf, caller: CallerOf) -> list[wire.Attempt]:
    """The attempts of a run, oldest first."""
    return service.runs.attempts(caller, run)


@router.get("/{run}/events")
def events(
    run: RunName,
    service: ServiceOf,
    caller: CallerOf,
    after: Annotated[int, Query(ge=0, le=wire.MAX_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> list[wire.Event]:
    """What happened to a run after the event `after`, oldest first."""
    return service.runs.events(caller, run, after, limit)


@router.get("/{run}/metrics")
def metrics(
    run: RunName,
    service: ServiceOf,
    caller: CallerOf,
    key: Annotated[list[wire.Word], Query()] = [],  # noqa: B006
    points: Annotated[
        int, Query(ge=1, le=wire.MAX_POINTS, description="Points of each metric, at most.")
    ] = 1000,
    first: Annotated[int, Query(ge=0, le=wire.MAX_STEP, description="The first step of the range.")] = 0,
    last: Annotated[int | None, Query(ge=0, le=wire.MAX_STEP, description="Its last step.")] = None,
) -> list[wire.Series]:
    """The points of a run's metrics in a range of steps, thinned out evenly to `points` each.

    Together they have 50,000 at most. The `count` of a metric says how many there are; of a shorter range,
    or of fewer metrics, an answer has them all.
    """
    return service.runs.metrics(caller, run, key, points, first, last)


@router.get("/{run}/config", response_class=Yaml, responses=RESPONSES_BESIDE_TEXT)
def config(run: RunName, service: ServiceOf, caller: CallerOf) -> Yaml:
    """The Axolotl config of the newest launch."""
    return Yaml(service.runs.config(caller, run))


@router.get("/{run}/logs", response_class=Lines, responses=RESPONSES_BESIDE_TEXT)
def logs(
    run: RunName,
    service: ServiceOf,
    caller: CallerOf,
    seen: Annotated[list[wire.Seen], Query()] = [],  # noqa: B006
) -> Lines:
    """What a run's attempts printed, as lines of JSON (`LogPart`).

    `seen` says where the reader stands, such as `attempt-1:2048`, in bytes.
    """
    parts = service.runs.logs(caller, run, wire.parse_seen(seen))
    return Lines(_lines(parts))


def _lines(parts: Iterator[wire.LogPart]) -> Iterator[str]:
    for part in parts:
        yield part.model_dump_json() + "\n"
