"""Plans, attempts and outcomes: who runs what, who owns a run, and how an attempt says it ended."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Literal, get_args

from orchestrator.contract.layout import attempt_key
from orchestrator.contract.manifest import VERSION
from orchestrator.contract.sound import MAX_STEP, is_time, is_whole
from orchestrator.contract.store import ContractError, Fenced, Store, known_fields, to_json

StepKind = Literal["prepare", "train", "evaluate"]
_CLAIM = re.compile(r"attempts/([1-9][0-9]{0,8})/claim\.json")  # no more than a database's number holds
_RECORD = re.compile(r"^attempts/(\d+)/metrics-\d+\.jsonl$")


class ExitCode(IntEnum):
    """What a step's program leaves with; the sysexits numbers where one fits."""

    SUCCESS = 0
    DATA = 65  # the data cannot be trained on
    CRASHED = 70  # an exception nobody expected
    OUT_OF_MEMORY = 71  # the device's memory, or the host's
    STORAGE = 74  # storage full or not writable
    INTERRUPTED = 75  # told to leave; a new start goes on from the newest checkpoint
    CONFIG = 78  # plan, config or base model cannot be used


class Result(StrEnum):
    """How an attempt says it ended."""

    SUCCESS = "success"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class Cause(StrEnum):
    """Why an attempt did not end in success, as far as it can tell itself."""

    STOPPED = "stopped"  # SIGTERM or SIGINT
    FENCED = "fenced"  # a later attempt owns the run
    OUT_OF_MEMORY = "out_of_memory"
    KILLED = "killed"  # a training process died by a signal nobody here sent
    STORAGE = "storage"
    STORAGE_AWAY = "storage_away"  # for longer than anybody waits for it
    CONFIG = "config"
    DATA = "data"
    CRASHED = "crashed"


@dataclass(frozen=True)
class LaunchPlan:
    """Everything a step's program is told: `launches/<k>/plan.json`.

    `model` and `dataset` are keys in storage (None while not known); `device` is the class of
    machine, `devices` how many of them train together. `adapter` is the key of an earlier adapter, laid
    out as `adapter-in`. `task` holds what belongs to one kind of step only, such as the evaluate step's
    rows, or `checkpoint_seconds`, the time from one checkpoint of the train step to the next.
    """

    run: str
    launch: int
    step: StepKind
    device: Literal["cpu", "gpu"] = "cpu"
    devices: int = 1
    model: str | None = None
    dataset: str | None = None
    base_model: str | None = None
    adapter: str | None = None
    keep_checkpoints: int = 3
    task: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        return to_json({"version": VERSION, **asdict(self)})

    @classmethod
    def from_json(cls, data: bytes) -> LaunchPlan:
        return cls(**known_fields(cls, json.loads(data)))


@dataclass(frozen=True)
class Claim:
    """Who claimed an attempt: its launch, host, process id, and the time in seconds since 1970."""

    attempt: int
    launch: int
    host: str
    pid: int
    time: float

    @classmethod
    def from_json(cls, data: bytes) -> Claim:
        """Raises ContractError where the text is no claim: what trains can write anything in its place."""
        try:
            claim = cls(**known_fields(cls, json.loads(data)))
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ContractError(f"not a claim: {error}") from error
        if not claim._is_sound():
            raise ContractError("not a claim: a field is not of its kind")
        return claim

    def _is_sound(self) -> bool:
        """Whether everything is of its kind, and not beyond what a database holds."""
        whole = (self.attempt, self.launch, self.pid)
        return type(self.host) is str and all(map(is_whole, whole)) and is_time(self.time)


@dataclass(frozen=True)
class Outcome:
    """What an attempt says of itself when it ends: `attempts/<n>/outcome.json`.

    `step` is the last optimizer step done, of `total_steps`; `facts` are figures worth keeping
    (peak memory, counts, digests, evaluation scores).
    """

    attempt: int
    launch: int
    kind: StepKind
    result: Result
    exit_code: int
    cause: Cause | None = None
    message: str = ""
    step: int | None = None
    total_steps: int | None = None
    started: float = 0.0
    ended: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        return to_json({"version": VERSION, **asdict(self)})

    @classmethod
    def from_json(cls, data: bytes) -> Outcome:
        """Raises ContractError where the text is no outcome: what trains can write anything in its place."""
        try:
            raw = known_fields(cls, json.loads(data))
            raw["result"] = Result(raw["result"])
            raw["cause"] = Cause(raw["cause"]) if raw.get("cause") else None
            said = cls(**raw)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ContractError(f"not an outcome: {error}") from error
        if not said._is_sound():
            raise ContractError("not an outcome: a field is not of its kind")
        return said

    def _is_sound(self) -> bool:
        """Whether everything is of its kind, and not beyond what a database holds."""
        steps = [step for step in (self.step, self.total_steps) if step is not None]
        whole = [self.attempt, self.launch, self.exit_code, *steps]
        return (
            self.kind in get_args(StepKind)
            and type(self.message) is str
            and isinstance(self.facts, dict)
            and all(is_whole(number, -MAX_STEP) for number in whole)
            and all(map(is_time, (self.started, self.ended)))
        )


def claim_attempt(run: Store, launch: int, *, host: str, pid: int, now: float) -> Claim:
    """Claim the next attempt number of a run; from here on every earlier attempt is fenced."""
    number = owner(run) + 1
    while True:
        claim = Claim(number, launch, host, pid, now)
        if run.create(f"{attempt_key(number)}/claim.json", to_json(asdict(claim))):
            return claim
        number += 1


def attempts(run: Store) -> list[Claim]:
    """Every claim of a run, oldest first; of what is none, its number alone counts (`owner`)."""
    found = (read_claim(run, number) for number in sorted(_numbers(run.keys("attempts"))))
    return [claim for claim in found if claim is not None]


def owner(run: Store) -> int:
    """The attempt that owns a run: its highest claim, 0 where there is none."""
    return max(_numbers(run.keys("attempts")), default=0)


@dataclass(frozen=True)
class NewestAttempt:
    """The attempt that owns a run, as it lies there: bytes of its metric record, whether it has ended."""

    number: int
    record: int
    ended: bool


def newest_attempt(run: Store) -> NewestAttempt | None:
    """The attempt that owns a run, for one listing."""
    sizes = run.sizes("attempts")
    number = max(_numbers(sizes), default=0)
    own = {key: size for key, size in sizes.items() if key.startswith(f"{attempt_key(number)}/")}
    record = sum(size for key, size in own.items() if _RECORD.match(key))
    ended = f"{attempt_key(number)}/outcome.json" in own
    return NewestAttempt(number, record, ended) if number else None


def _numbers(keys: Iterable[str]) -> list[int]:
    """The numbers that are claimed, by the keys of what lies below `attempts`."""
    return [int(match[1]) for key in keys if (match := _CLAIM.fullmatch(key))]


def read_claim(run: Store, number: int) -> Claim | None:
    """The claim of that number, which is there; None where that is no claim of it."""
    try:
        claim = Claim.from_json(run.read(f"{attempt_key(number)}/claim.json"))
    except ContractError:
        return None
    return claim if claim.attempt == number else None


def read_outcome(run: Store, attempt: int) -> Outcome | None:
    """What an attempt said when it ended; None while it has not, or where that is no outcome."""
    try:
        return Outcome.from_json(run.read(f"{attempt_key(attempt)}/outcome.json"))
    except (FileNotFoundError, ContractError):
        return None


@dataclass(frozen=True)
class Fence:
    """The right of one attempt to commit; `check` raises Fenced once a later attempt exists."""

    run: Store
    attempt: int

    def check(self) -> None:
        if (newest := owner(self.run)) > self.attempt:
            raise Fenced(f"attempt {newest} owns the run; attempt {self.attempt} may not commit")
