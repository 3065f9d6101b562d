"""A glance at a run: whether anything is new since its last look. It reads no database and writes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator import contract
from orchestrator.backends import Backend, launch_name
from orchestrator.controller.decision import LaunchView, Move, RunView, Stall, decide
from orchestrator.controller.heard import Said
from orchestrator.db import Attempt, Run, Standing
from orchestrator.reasons import Reason
from orchestrator.runs import Intent, Phase

_GOING_ON = (Phase.PENDING, Phase.RUNNING, Phase.UNKNOWN)


def standing_of(run: Run, views: Sequence[LaunchView], attempts: Sequence[Attempt]) -> Standing | None:
    """What to hold the next glance against; None where a run does not go on by itself."""
    if run.status.final or run.intent is not Intent.RUN or not views:
        return None
    newest = views[-1]
    if newest.observation.phase not in _GOING_ON or newest.outcome is not None:
        return None
    attempt = attempts[-1] if attempts else Attempt(0, 0)
    return Standing(
        run=run.id,
        storage=run.storage,
        status=run.status,
        reason=run.reason,
        message=run.message,
        launch=newest.number,
        step=newest.step,
        attempt=attempt.number,
        claimed=attempt.launch == newest.number,
        started=newest.started,
        offset=attempt.offset,
    )


def has_news(standing: Standing, backend: Backend, said: Said | None = None) -> bool:
    """Whether its backend sees what would change how the run stands, or storage has more than was read.

    Storage is not asked where the run's attempt has `said` of late how far it is.
    """
    seen = backend.observe(launch_name(standing.run, standing.launch))
    stall = Stall(standing.message) if standing.reason is Reason.STALLED else None
    run = RunView(standing.status, Intent.RUN, evaluate=False, published=False, stall=stall)
    saved = int(standing.reason is Reason.RESUMING)  # it waits to go on from some checkpoint
    launch = LaunchView(
        standing.launch,
        standing.step,
        seen,
        attempts=int(standing.claimed),
        started=standing.started,
        progress=saved,
    )
    if decide(run, [launch]) != [Move(standing.status, standing.reason, standing.message)]:
        return True
    if said is not None:
        same = (said.launch, said.attempt) == (standing.launch, standing.attempt)
        return not same or not standing.started or stall is not None
    store = contract.open_run(standing.storage, standing.run)
    newest = contract.newest_attempt(store)
    if newest is None or newest.number < standing.attempt:
        return False
    if newest.number > standing.attempt:
        return contract.read_claim(store, newest.number) is not None
    return standing.claimed and (newest.ended or newest.record > standing.offset)
