"""What we remember, as it is told over the wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from orchestrator import db, wire
from orchestrator.controller.estimates import Compared, estimate_against_actual
from orchestrator.controller.track import behind
from orchestrator.reasons import REASONS, Reason
from orchestrator.settings import Settings
from orchestrator.spec.stored import model_named


def run(found: db.Run | db.Listed, settings: Settings) -> wire.Run:
    """How a run stands."""
    return wire.Run(**_standing(found, settings))


def fresh(found: db.Run, settings: Settings) -> wire.RunDetail:
    """Everything about a run that was recorded just now."""
    return _detail(found, settings, attempts=0, published=(), figures=())


def detail(database: db.Database, found: db.Run, settings: Settings) -> wire.RunDetail:
    """Everything about a run."""
    return _detail(
        found,
        settings,
        attempts=sum(1 for attempt in database.attempts(found.id) if attempt.started is not None),
        published=database.publications(found.id),
        figures=estimate_against_actual(database, found),
    )


def event(found: db.Event) -> wire.Event:
    """One event."""
    sentence = REASONS[Reason(found.reason)].sentence if found.reason else None
    return wire.Event(**asdict(found), sentence=sentence)


def version(found: db.Version) -> wire.Model:
    """A published version."""
    return wire.Model(
        **publication(found.publication).model_dump(),
        run=found.run,
        name=found.name,
        base_model=found.base_model,
        run_deleted=found.deleted,
    )


def publication(each: db.Publication) -> wire.Publication:
    """A registry's confirmation."""
    return wire.Publication(**{name: value for name, value in asdict(each).items() if name != "target"})


def series(found: Mapping[str, db.Series], keys: Sequence[str]) -> list[wire.Series]:
    """Points by metric, in the order of `keys`, or all metrics by name where there are none."""
    return [
        wire.Series(
            key=key,
            count=each.count,
            points=[wire.Point(step=p.step, value=p.value, time=p.time) for p in each.points],
        )
        for key in keys or sorted(found)
        for each in (found.get(key) or db.Series(0, []),)
    ]


def _detail(
    found: db.Run,
    settings: Settings,
    *,
    attempts: int,
    published: Sequence[db.Publication],
    figures: Sequence[Compared],
) -> wire.RunDetail:
    return wire.RunDetail(
        **_standing(found, settings),
        spec=dict(found.spec),
        spec_text=found.spec_text,
        spec_digest=found.spec_digest,
        base=found.base or None,
        facts=dict(found.facts),
        model=found.facts.get("model"),
        evaluation=found.facts.get("evaluate"),
        estimate=found.facts.get("estimate"),
        attempts=attempts,
        published=[publication(each) for each in published],
        points_left_out=found.points_left_out,
        estimate_against_actual=[wire.Figure(**asdict(each), error=each.error) for each in figures],
    )


def _standing(found: db.Run | db.Listed, settings: Settings) -> dict[str, Any]:
    facts = REASONS[found.reason] if found.reason else None
    return {
        "id": found.id,
        "name": found.name,
        "project": found.project,
        "status": found.status,
        "intent": found.intent,
        "reason": found.reason,
        "sentence": facts.sentence if facts else None,
        "advice": facts.advice if facts else None,
        "message": found.message,
        "created": found.created,
        "updated": found.updated,
        "ended": found.ended,
        "base_model": model_named(found.base_model),
        "machine": found.machine,
        "step": found.step,
        "total_steps": found.total_steps,
        "loss": found.loss,
        "lost_steps": found.lost_steps,
        "dataset": found.dataset,
        "mlflow": found.mlflow_url,
        "tracked": not behind(found, settings),
        "temporary": found.temporary,
        "pinned": found.pinned,
        "expires": found.expires,
        "expired": found.expired,
    }
