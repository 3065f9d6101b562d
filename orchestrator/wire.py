"""What the service and its client say to each other: the bodies of `/api/v1`.

Times are seconds since 1970. A newer service may say more: what a client does not know, it skips;
what a service does not know in a request, it refuses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from orchestrator.contract import StepKind
from orchestrator.errors import Fault
from orchestrator.runs import Intent, Reason, Status
from orchestrator.spec.base import Name

MAX_SPEC_CHARACTERS = 128 * 1024
MAX_ID = 2**53
MAX_STEP = 2**31 - 1
MAX_NUMBER = 2**31 - 1  # of a launch or an attempt
MAX_PARTS = 1000

Word = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,250}$")]
Cursor = Annotated[str, StringConstraints(pattern=r"^[0-9.e+]{1,40}:[a-z0-9-]{1,100}$")]
Seen = Annotated[str, StringConstraints(pattern=r"^(?:attempt|launch)-[0-9]{1,9}:[0-9]{1,15}$")]
KeyId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{8}$")]
RoleName = Literal["viewer", "submitter", "admin"]
IdempotencyKey = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,200}$")]

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
UploadAddress = Annotated[str, StringConstraints(max_length=4096)]


def _known_reason(said: Any) -> Any:
    """None for a reason that only a newer service knows; its sentence tells what it is."""
    return said if said in list(Reason) else None


class Asked(BaseModel):
    """A body that the client sends: closed, and of few parts."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _few(cls, sent: Any) -> Any:
        """Told once, since each part too many would be a fault of its own."""
        parts = [sent, *sent.values()] if isinstance(sent, dict) and len(sent) <= MAX_PARTS else [sent]
        if any(isinstance(part, dict | list) and len(part) > MAX_PARTS for part in parts):
            raise ValueError(f"it has more than {MAX_PARTS} parts")
        return sent


class Told(BaseModel):
    """A body that the service answers with: it may grow."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")


class Submission(Asked):
    """A spec to run, exactly as it was written, and what its relative paths mean."""

    spec: str = Field(
        max_length=MAX_SPEC_CHARACTERS,
        description="The spec's YAML text, as written.",
        examples=["name: triage\nbase_model: org/model@revision\n..."],
    )
    file: str = Field(
        default="spec.yaml", max_length=1000, description="What the spec is called in what is said of it."
    )
    mappings: dict[str, str] = Field(
        default={}, max_length=100, description="The texts of the mapping files that it names."
    )
    base: str | None = Field(
        default=None,
        max_length=4096,
        description="The folder that relative paths start from; only for a service on the same machine.",
    )
    uploads: dict[str, UploadAddress] = Field(
        default={},
        max_length=2000,
        description="What places of the client's machine stand for, by their fields: addresses of uploads.",
        examples=[{"dataset.source": f"upload://{'0' * 64}/tickets.csv"}],
    )
    go_on: bool = Field(
        default=False, description="Go on with an unfinished run of this very spec, where there is one."
    )


class CloneAsked(Asked):
    """A run to be submitted once more, with some fields of its spec changed."""

    name: Name = Field(description="Name of the new run.", examples=["triage-2"])
    changes: dict[str, Annotated[str, StringConstraints(max_length=10_000)]] = Field(
        default={},
        max_length=100,
        description="New values by their fields, as YAML.",
        examples=[{"training.learning_rate": "1e-4"}],
    )


class KeyAsked(Asked):
    """An API key to be made for the asker's project."""

    name: Name = Field(description="Who or what will hold it.", examples=["ci"])
    role: RoleName = Field(description="What its holder may do.")
    days: int = Field(default=365, ge=1, le=3650, description="Days until it expires.")


class Key(Told):
    """An API key without its text; `used` is right to five minutes."""

    id: str
    project: str
    name: str
    role: RoleName
    created: float
    creator: str
    expires: float | None = None
    revoked: float | None = None
    used: float | None = None


class FreshKey(Key):
    """A key as it is made, with its text: it is not kept, and never told again."""

    key: str


class FileAsked(Asked):
    """A file that a client means to upload."""

    sha256: Sha256 = Field(description="SHA-256 of the whole file, in hex.", examples=["0" * 64])
    size: int = Field(ge=0, le=2**53, description="Its bytes.", examples=[1_048_576])


class File(Told):
    """An uploaded file, or one that is on its way.

    It goes in parts of `part_size` bytes, the last one shorter, in any order; then it is finished.
    """

    sha256: Sha256
    size: int
    part_size: int = Field(description="Bytes of every part but the last.")
    missing: list[int] = Field(description="The parts that have not arrived, counted from 0.")
    complete: bool = Field(description="Whether it is finished: a spec may name it.")
    created: float


class MappingAsked(Asked):
    """A mapping that specs of the project may name."""

    text: str = Field(
        max_length=MAX_SPEC_CHARACTERS,
        description="Its YAML text, as a mapping file holds it.",
        examples=["conversation: {column: messages}\n"],
    )


class MappingListed(Told):
    """A mapping that specs of the project may name, without its text."""

    name: str
    sha256: Sha256 = Field(description="SHA-256 of its text, in hex.")
    updated: float


class NamedMapping(MappingListed):
    """A mapping that specs of the project may name."""

    text: str


class MappingPage(Told):
    """Mappings by their names; `cursor` asks for the next page, None at the end."""

    items: list[MappingListed]
    cursor: str | None = None


class Publication(Told):
    """A registry's confirmation of the adapter, read back by digest."""

    registry: str
    reference: str
    version: str
    url: str
    digest: str
    time: float


class Deleted(Told):
    """A run that was deleted, and what of it remains elsewhere, since nobody deletes it with a run."""

    run: str
    time: float
    removed: bool = Field(
        description="Whether its folder is gone from storage; if not, the service goes on removing it."
    )
    versions: list[Publication] = Field(default=[], description="Published versions, in their registries.")
    mlflow: str | None = Field(default=None, description="The page of its MLflow run.")


class AdapterFile(Told):
    """A file of a finished adapter, its path relative to the adapter's folder."""

    path: str
    size: int
    sha256: Sha256


class Adapter(Told):
    """A finished adapter: its files, with its card and provenance, as they are published.

    `digest` is that of what was trained: SHA-256 of the sorted `<sha256>  <path>` lines of its files
    without card and provenance.
    """

    run: str
    digest: Sha256
    files: list[AdapterFile]


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
    facts: dict[str, Any] = {}
    model: str | None = Field(default=None, description="Digest of the base model's files.")
    evaluation: dict[str, Any] | None = None
    estimate: dict[str, Any] | None = None
    attempts: int = 0
    published: list[Publication] = []
    estimate_against_actual: list[Figure] = []


class RunPage(Told):
    """Runs, newest first; `cursor` asks for the next page, None at the end."""

    items: list[Run]
    cursor: str | None = None


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


class Point(Told):
    """One value of one metric at one step."""

    step: int
    value: float
    time: float


class Series(Told):
    """The points of one metric, by step; `count` is how many there are in the range asked for."""

    key: str
    count: int
    points: list[Point]


class LogPart(Told):
    """A piece of what an attempt printed; `attempt` is None for a launch that never began one."""

    launch: int
    attempt: int | None = None
    offset: int = Field(description="Where in the attempt's whole log this begins, in bytes.")
    size: int = Field(description="How many bytes of it this is.")
    text: str

    @property
    def name(self) -> str:
        """The name of the whole text, as `seen` counts its bytes."""
        return f"launch-{self.launch}" if self.attempt is None else f"attempt-{self.attempt}"


def seen_text(seen: Mapping[str, int]) -> list[str]:
    """Where a reader of logs stands, as the parameter `seen` says it."""
    return [f"{text}:{size}" for text, size in seen.items()]


def parse_seen(texts: Sequence[str]) -> dict[str, int]:
    """The opposite of `seen_text`."""
    return {name: int(size) for name, _, size in (text.partition(":") for text in texts)}


class Plan(Told):
    """What a run of a submission would be; `estimate` is None for a base model of an unknown kind."""

    name: str
    spec_digest: str
    splits: dict[str, dict[str, Any]] = Field(description="Rows, tokens and lengths of each split.")
    forecast: dict[str, Any] | None = None
    steps: int
    steps_exact: bool
    micro_batch_size: int
    accumulation: int
    save_steps: int | None = None
    eval_steps: int | None = None
    estimate: dict[str, Any] | None = Field(default=None, description="Memory, time and price.")
    remedies: list[dict[str, Any]] = Field(default=[], description="What to change where it does not fit.")
    publish: list[str] = []
    config: dict[str, Any] = Field(description="The Axolotl config.")
    config_text: str = Field(description="The same, as the YAML that a launch reads.")
    request: dict[str, Any] = Field(
        default={},
        description="What the backend would send to start training: a command, a container or a Job.",
    )
    against: str | None = Field(default=None, description="The run that `changes` are told against.")
    changes: dict[str, dict[str, list[Any]]] = Field(
        default={},
        description="Old and new value of what differs from that run, by section (spec, dataset, config, "
        "estimate) and field; null where one side has none.",
    )


class Machine(Told):
    """A machine that `compute.machine` of a spec may name; None is not known."""

    name: str = Field(examples=["a100-1"])
    device: Literal["cpu", "gpu"]
    devices: int = Field(default=1, description="GPUs, or processes that share its processor.")
    gpu: str | None = None
    memory_gib: float | None = Field(default=None, description="Memory of one device.")
    price_per_hour: float | None = Field(default=None, description="Of the whole machine.")
    tokens_per_second: float | None = Field(default=None, description="As the operator measured it.")
    sentence: str = ""


class Registry(Told):
    """A place that adapters are published to."""

    kind: Literal["mlflow"] = Field(description="The key of a target in a spec's `publish`.")
    url: str


class Dataset(Told):
    """A prepared dataset, as runs of the project have used it."""

    digest: str = Field(description="Of its rows, however they lie in files.")
    rows: int
    validation_rows: int = 0
    tokens: int | None = None
    trained_tokens: int | None = None
    used: float = Field(description="When the newest run with it was submitted.")
    runs: list[str] = Field(description="The runs that used it, newest first.")


class Model(Publication):
    """A published version, and the run that made it."""

    run: str
    name: str = Field(description="The run's name.")
    base_model: str
    run_deleted: bool = Field(default=False, description="Whether the run itself was deleted since.")


class Reported(Told):
    """How far the service knows an attempt's metric record."""

    offset: int = Field(description="Bytes of the record that it knows, from whichever source.")
    again: float = Field(
        description="Seconds until it would hear more: the more launches report, the longer."
    )


class Problem(Told):
    """Why a request was not done."""

    code: str = Field(description="The kind of error, to programs.", examples=["not_found"])
    message: str
    hint: str | None = Field(default=None, description="What to try next.")
    path: str | None = Field(default=None, description="The field or parameter it is about.")
    request_id: str = Field(description="Stands in the service's log too.")
    faults: list[Fault] = []


class ProblemBody(Told):
    """The one error body."""

    error: Problem
