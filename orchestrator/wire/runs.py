"""How runs stand, what happened to them, and what they left."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from orchestrator.contract import StepKind
from orchestrator.reasons import Reason
from orchestrator.runs import Intent, Status
from orchestrator.wire.base import Told

_REASONS = frozenset(Reason)


def _known_reason(said: Any) -> Any:
    """None for a reason that only a newer service knows; its sentence tells what it is."""
    return said if isinstance(said, str) and said in _REASONS else None


class Publication(Told):
    """A registry's confirmation of the adapter, read back by digest."""

    registry: str
    reference: str
    version: str
    url: str
    digest: str
    time: float


class Figure(Told):
    """A figure as it was foreseen when training was launched, and as it came; `at_most` ends the range that
    was foreseen, where one was."""

    name: str
    estimate: float
    at_most: float | None = None
    actual: float
    error: float


class Run(Told):
    """How a run stands."""

    id: str
    name: str
    project: str = "default"
    status: Status
    intent: Intent
    reason: Annotated[Reason | None, BeforeValidator(_known_reason)] = None
    sentence: str | None = Field(default=None, description="The reason, said to a person.")
    advice: str | None = Field(default=None, description="What to do about it.")
    message: str = ""
    created: float
    updated: float
    ended: float | None = None
    base_model: str
    machine: str
    step: int | None = Field(default=None, description="The newest optimizer step whose loss is known.")
    total_steps: int | None = None
    loss: float | None = None
    lost_steps: int = Field(default=0, description="Steps that were trained again after interruptions.")
    dataset: str | None = None
    mlflow: str | None = Field(default=None, description="The page of its MLflow run.")
    tracked: bool = Field(default=True, description="Whether MLflow, if there is one, knows how it ended.")
    temporary: bool = Field(default=False, description="Whether its files go some days after its end.")
    pinned: bool = Field(default=False, description="Whether it and its files stay whatever else is said.")
    expires: float | None = Field(default=None, description="When its adapter and checkpoints go.")
    expired: float | None = Field(default=None, description="When they went.")
    continued: bool = Field(
        default=False, description="Whether a submission found this run rather than made it."
    )


class RunDetail(Run):
    """Everything about a run that is not a list of its own."""

    spec: dict[str, Any]
    spec_text: str
    spec_digest: str
    base: str | None = None
    facts: dict[str, Any] = Field(default={})
    model: str | None = Field(default=None, description="Digest of the base model's files.")
    evaluation: dict[str, Any] | None = None
    estimate: dict[str, Any] | None = None
    attempts: int = 0
    published: list[Publication] = Field(default=[])
    points_left_out: int = Field(
        default=0, description="Points of metrics beyond as many as are kept of a run; storage has them."
    )
    estimate_against_actual: list[Figure] = Field(default=[])


class RunPage(Told):
    """Runs, newest first; `cursor` asks for the next page, None at the end."""

    items: list[Run]
    cursor: str | None = None


class Deleted(Told):
    """A run that was deleted, and what of it remains elsewhere, since nobody deletes it with a run."""

    run: str
    time: float
    removed: bool = Field(
        description="Whether its folder is gone from storage; if not, the service goes on removing it."
    )
    versions: list[Publication] = Field(default=[], description="Published versions, in their registries.")
    mlflow: str | None = Field(default=None, description="The page of its MLflow run.")


class Attempt(Told):
    """One attempt: when it ran, from where to where, how it ended, what it lost."""

    number: int
    launch: int
    step: StepKind
    started: float
    ended: float | None = None
    resumed_from: int | None = None
    reached: int | None = None
    lost_steps: int = 0
    result: str | None = None
    cause: str | None = None
    message: str = ""


class Event(Told):
    """A change of a run's status or reason; `id` only ever grows."""

    id: int
    run: str
    time: float
    status: str
    reason: str | None = None
    sentence: str | None = Field(default=None, description="The reason, said to a person.")
    message: str = ""
    count: int = Field(default=1, description="How many like it this stands for: more where a run has many.")
    since: float | None = Field(default=None, description="When the first of these was, where it is counted.")
