"""What the database keeps, as frozen values; times are seconds since 1970."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.contract import StepKind
from orchestrator.reasons import Reason
from orchestrator.runs import Intent, Keep, Status


@dataclass(frozen=True)
class Run:
    """Our record of one submission.

    `base` is the folder that the spec's relative paths start from; `tracked` the status MLflow was
    last told; `facts` what steps found out (dataset, model and adapter digests, forecast, scores).
    `look` is when the controller must look at it next, None for not before something is wanted of it;
    `tell` is when MLflow must next be told of it, below 0 for points alone, None while it knows everything;
    `step` and `loss` are of its newest point, `total_steps` what its trainer counted.
    `mappings` and `uploads` are what its spec was packed with. `keep` is what a cancelled one leaves.
    The files of a `temporary` one go when it `expires`, unless it is `pinned`; they went when it `expired`.
    They took `stored` bytes when they were `measured`, None for never. `points` counts those that are kept of
    it, `points_left_out` those that came when there were as many as may be.
    """

    id: str
    name: str
    spec_digest: str
    spec: Mapping[str, Any]
    spec_text: str
    base: str
    storage: str
    status: Status
    created: float
    updated: float
    reason: Reason | None = None
    message: str = ""
    intent: Intent = Intent.RUN
    ended: float | None = None
    mlflow_run: str | None = None
    mlflow_url: str | None = None
    tracked: str | None = None
    lost_steps: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)
    project: str = "default"
    owner: str = "local"
    look: float | None = None
    tell: float | None = None
    step: int | None = None
    total_steps: int | None = None
    loss: float | None = None
    mappings: Mapping[str, str] = field(default_factory=dict)
    uploads: Mapping[str, str] = field(default_factory=dict)
    keep: Keep | None = None
    temporary: bool = False
    pinned: bool = False
    expires: float | None = None
    expired: float | None = None
    stored: int = 0
    measured: float | None = None
    points: int = 0
    points_left_out: int = 0

    @property
    def base_model(self) -> Any:
        """As its spec names it."""
        return self.spec["base_model"]

    @property
    def machine(self) -> str:
        """The name of the machine that it trains on."""
        return str(self.spec["compute"]["machine"])

    @property
    def dataset(self) -> str | None:
        """The digest of its dataset, once that is prepared."""
        return self.facts.get("dataset")


@dataclass(frozen=True)
class Listed:
    """A run as pages show it, which is without spec and facts but for three of their fields."""

    id: str
    name: str
    project: str
    status: Status
    intent: Intent
    reason: Reason | None
    message: str
    created: float
    updated: float
    ended: float | None
    mlflow_url: str | None
    tracked: str | None
    step: int | None
    total_steps: int | None
    loss: float | None
    lost_steps: int
    temporary: bool
    pinned: bool
    expires: float | None
    expired: float | None
    base_model: Any
    machine: str
    dataset: str | None


@dataclass(frozen=True)
class Launch:
    """One launch we decided on, whether or not its making was finished; `stalled` is when it was stopped for
    making no progress."""

    number: int
    step: StepKind
    micro_batch_size: int | None
    created: float
    stalled: float | None = None


@dataclass(frozen=True)
class Look:
    """A look at a run that the controller owes since `look`."""

    run: str
    look: float


@dataclass(frozen=True, slots=True)
class Standing:
    """A run that goes on by itself, as far as it takes to see whether anything is new.

    `launch` is its newest launch, `attempt` its newest attempt (0: none), which is of that launch where it is
    `claimed`; `offset` bytes of its record were read, and it has `started` where they say so.
    """

    run: str
    storage: str
    status: Status
    reason: Reason | None
    message: str
    launch: int
    step: StepKind
    attempt: int = 0
    claimed: bool = False
    started: bool = False
    offset: int = 0


@dataclass(frozen=True)
class Attempt:
    """What an attempt's metric record has said so far, of which `offset` bytes were read.

    `started` and `last` are the times of its first and newest line; `checkpoint` is the highest
    step it committed, `checkpoint_time` when. `heard` is when its newest bytes were taken in, by the
    service's own clock.
    """

    number: int
    launch: int
    offset: int = 0
    started: float | None = None
    last: float | None = None
    total_steps: int | None = None
    resumed_from: int | None = None
    checkpoint: int = 0
    checkpoint_time: float | None = None
    heard: float | None = None


@dataclass(frozen=True)
class Point:
    """One value of one metric at one step."""

    key: str
    step: int
    value: float
    time: float


@dataclass(frozen=True)
class Series:
    """Points of one metric by step, some of the `count` that there are."""

    count: int
    points: list[Point]


@dataclass(frozen=True)
class Publication:
    """A registry's confirmation of the adapter, read back by digest."""

    target: int
    registry: str
    reference: str
    version: str
    url: str
    digest: str
    time: float


@dataclass(frozen=True)
class Version:
    """A published version, and what is known of its run, which may be deleted since."""

    run: str
    name: str
    base_model: str
    deleted: bool
    publication: Publication


@dataclass(frozen=True)
class DeletedRun:
    """What stays known of a run that somebody deleted."""

    id: str
    project: str
    storage: str
    mlflow_url: str | None
    time: float


@dataclass(frozen=True)
class Removal:
    """A folder of storage that is to go: nobody may need it any more."""

    id: int
    storage: str
    folder: str
    time: float


@dataclass(frozen=True)
class Event:
    """A change of a run's status or reason; `id` only ever grows. It is the last of `count` like it where a
    run has many, the first of which was at `since`."""

    id: int
    run: str
    time: float
    status: str
    reason: str | None
    message: str
    count: int = 1
    since: float | None = None


@dataclass(frozen=True)
class Key:
    """An API key without its text: `digest` is the SHA-256 of that. `used` is right to five minutes."""

    id: str
    project: str
    name: str
    role: str
    digest: str
    created: float
    creator: str
    expires: float | None = None
    revoked: float | None = None
    used: float | None = None


@dataclass(frozen=True)
class Lease:
    """A lease as one holder has it; `fence` counts the holders up to it."""

    name: str
    holder: str
    fence: int


@dataclass(frozen=True)
class File:
    """A file of a project that was announced for upload, named by its SHA-256.

    `finished` is when all of it had arrived, `used` when somebody last asked for it to be there.
    """

    project: str
    sha256: str
    size: int
    owner: str
    created: float
    used: float
    finished: float | None = None


@dataclass(frozen=True)
class Dataset:
    """A prepared dataset that a project holds; `facts` has its rows and tokens as they were counted.

    `created` and `used` are when the first and the newest run with it were submitted; its files take `size`
    bytes, None where nobody has looked yet.
    """

    project: str
    digest: str
    storage: str
    facts: Mapping[str, Any]
    created: float
    used: float
    size: int | None = None


@dataclass(frozen=True)
class NamedMapping:
    """A mapping that specs of a project name; `sha256` is of its text."""

    project: str
    name: str
    text: str
    sha256: str
    updated: float


@dataclass(frozen=True)
class Change:
    """A change that somebody made: when, who, in which project, what (`run.cancel`), of which run, file or
    key, by which request, from which address.

    The address is empty where nobody came over a network, and None in what was written before it was kept.
    """

    time: float
    actor: str
    project: str
    action: str
    subject: str
    request: str
    address: str | None = None


@dataclass(frozen=True)
class Recorded:
    """A row of the audit log: rows are numbered from 1, and chained by digests."""

    id: int
    previous: str
    digest: str
    change: Change
