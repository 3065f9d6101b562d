"""What each attempt of a run was: when it ran, from where to where, how it ended, what it lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator import contract
from orchestrator.contract import Claim, Outcome, StepKind
from orchestrator.db import Attempt, Database, Launch


@dataclass(frozen=True)
class AttemptHistory:
    """One attempt; times are seconds since 1970, None where nobody wrote them.

    `reached` is the last optimizer step that it is known to have done; `lost_steps` how many steps
    of earlier attempts it had to train again. `result` and `cause` are its own words; an attempt
    without a result is running, or was killed before it could say anything.
    """

    number: int
    launch: int
    step: StepKind
    started: float
    ended: float | None
    resumed_from: int | None = None
    reached: int | None = None
    lost_steps: int = 0
    result: str | None = None
    cause: str | None = None
    message: str = ""


def attempt_history(database: Database, run: str, store: contract.Store) -> list[AttemptHistory]:
    """The attempts of a run, oldest first."""
    launches = {launch.number: launch for launch in database.launches(run)}
    records = {attempt.number: attempt for attempt in database.attempts(run)}
    reached = database.reached(run)
    return [
        _history(
            claim,
            launches.get(claim.launch),
            records.get(claim.attempt),
            contract.read_outcome(store, claim.attempt),
            reached,
        )
        for claim in contract.attempts(store)
    ]


def _history(
    claim: Claim,
    launch: Launch | None,
    record: Attempt | None,
    outcome: Outcome | None,
    reached: Mapping[int, int],
) -> AttemptHistory:
    step = outcome.kind if outcome else launch.step if launch else "train"
    resumed_from = record.resumed_from if record else None
    before = max((step for number, step in reached.items() if number < claim.attempt), default=0)
    trained = step == "train" and record is not None and record.started is not None
    return AttemptHistory(
        number=claim.attempt,
        launch=claim.launch,
        step=step,
        started=claim.time,
        ended=outcome.ended if outcome else record.last if record else None,
        resumed_from=resumed_from or None,
        reached=max(reached.get(claim.attempt, 0), (outcome.step or 0) if outcome else 0) or None,
        lost_steps=max(0, before - (resumed_from or 0)) if trained else 0,
        result=outcome.result.value if outcome else None,
        cause=outcome.cause.value if outcome and outcome.cause else None,
        message=outcome.message if outcome else "",
    )


def training_seconds(attempts: Sequence[Attempt]) -> float:
    """Seconds in which some attempt was training, from its first record to its newest; none where its clock
    was set back by more."""
    return sum(max(0.0, a.last - a.started) for a in attempts if a.started is not None and a.last is not None)
