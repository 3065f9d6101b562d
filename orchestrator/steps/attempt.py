"""One attempt of a step: claim it, run it, log it, and write how it ended.

    python -m orchestrator.steps <run folder or URL> <launch>

The same contract as the trainer's: exit codes of `contract.ExitCode`, and `outcome.json` as the truth.
"""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from orchestrator.contract import (
    Cause,
    Claim,
    ContractError,
    ExitCode,
    Fence,
    Fenced,
    LaunchPlan,
    Outcome,
    Result,
    Store,
    StreamWriter,
    attempt_key,
    claim_attempt,
    launch_key,
    open_store,
)
from orchestrator.errors import DataError, FaultsError, OrchestratorError

_USAGE = "usage: python -m orchestrator.steps <run folder or URL> <launch>"
_MESSAGE_CHARACTERS = 2000
FLUSH_SECONDS = 1.0

Facts = Mapping[str, Any]


class Stopped(BaseException):
    """SIGTERM or SIGINT came."""


@dataclass(frozen=True)
class Work:
    """What a step is given: its plan, storage, a scratch folder, the fence, and a way to say things."""

    plan: LaunchPlan
    storage: Store
    scratch: Path
    fence: Fence
    say: Callable[[str], None]


@dataclass(frozen=True)
class Ending:
    """How an attempt ended."""

    exit_code: ExitCode
    message: str
    cause: Cause | None = None
    facts: Facts = field(default_factory=dict)

    @property
    def result(self) -> Result:
        if self.exit_code is ExitCode.SUCCESS:
            return Result.SUCCESS
        return Result.INTERRUPTED if self.exit_code is ExitCode.INTERRUPTED else Result.FAILED


class Log:
    """The attempt's log: to our own output at once, to storage about each second.

    Storage that is away delays the log and never stops the attempt.
    """

    def __init__(self, run: Store, attempt: int) -> None:
        self._writer = StreamWriter(run, attempt, "log")
        self._flushed = 0.0

    def say(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads our output any more
            print(text, flush=True)
        self._writer.append(f"{text}\n".encode(errors="replace"))
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        self._flushed = time.monotonic()
        with contextlib.suppress(OSError):
            self._writer.flush()


def main(arguments: Sequence[str]) -> int:
    """Run one attempt of a launch; its exit code."""
    signals = _Signals()
    signals.listen()
    if len(arguments) != 2 or not arguments[1].isdigit():
        print(_USAGE, file=sys.stderr)
        return ExitCode.CONFIG
    try:
        run = open_store(arguments[0])
        plan = LaunchPlan.from_json(run.read(f"{launch_key(int(arguments[1]))}/plan.json"))
        claim = claim_attempt(run, plan.launch, host=socket.gethostname(), pid=os.getpid(), now=time.time())
    except (ContractError, FileNotFoundError, ValueError, TypeError) as error:
        print(f"the launch cannot be started: {error}", file=sys.stderr)
        return ExitCode.CONFIG
    except OSError as error:
        print(f"storage cannot be used: {error}", file=sys.stderr)
        return ExitCode.STORAGE
    return _run(run, plan, claim, signals)


class _Signals:
    """Turns SIGTERM and SIGINT into Stopped while a step runs; one that came before counts too."""

    def __init__(self) -> None:
        self._stopping = self._raising = False

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self._handle)
        signal.signal(signal.SIGINT, self._handle)

    @contextlib.contextmanager
    def raising(self) -> Iterator[None]:
        self._raising = True
        try:
            if self._stopping:
                raise Stopped
            yield
        finally:
            self._raising = False

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self._stopping = True
        if self._raising:
            self._raising = False  # once: a second signal must not break the leaving
            raise Stopped


def _run(run: Store, plan: LaunchPlan, claim: Claim, signals: _Signals) -> int:
    log = Log(run, claim.attempt)
    log.say(f"attempt {claim.attempt} of run {plan.run}, launch {plan.launch}: {plan.step}")
    try:
        with signals.raising(), _scratch_folder(plan.run, claim.attempt) as scratch:
            storage = open_store(run.url.rstrip("/").rsplit("/", 2)[0])
            work = Work(plan, storage, scratch, Fence(run, claim.attempt), log.say)
            ending = Ending(ExitCode.SUCCESS, "The step is done.", facts=_step(plan)(work))
    except Stopped:
        ending = Ending(ExitCode.INTERRUPTED, "Stopped; a new start begins again.", Cause.STOPPED)
    except Exception as error:
        ending = _from_exception(error, log)
    return _conclude(run, plan, claim, ending, log)


def _step(plan: LaunchPlan) -> Callable[[Work], Facts]:
    """The program of a step; imported only now, since it takes a while."""
    if plan.step != "prepare":
        raise ContractError(f"this program runs the step prepare, not {plan.step}")
    from orchestrator.steps.prepare import prepare_step

    return prepare_step


def _from_exception(error: Exception, log: Log) -> Ending:
    """Whose fault an exception is."""
    if isinstance(error, Fenced):
        return Ending(ExitCode.INTERRUPTED, f"A newer start owns this run: {error}.", Cause.FENCED)
    if isinstance(error, FaultsError):
        log.say(str(error))
        data = isinstance(error, DataError)
        facts = {"faults": [str(fault) for fault in error.faults[:20]]}
        message = str(error)[:_MESSAGE_CHARACTERS]
        if data:
            return Ending(ExitCode.DATA, message, Cause.DATA, facts)
        return Ending(ExitCode.CONFIG, message, Cause.CONFIG, facts)
    if isinstance(error, MemoryError):
        return Ending(ExitCode.OUT_OF_MEMORY, "Memory ran out.", Cause.OUT_OF_MEMORY)
    if isinstance(error, OSError):
        return Ending(ExitCode.STORAGE, f"Storage or scratch space cannot be used: {error}", Cause.STORAGE)
    if isinstance(error, ContractError | OrchestratorError):
        return Ending(ExitCode.CONFIG, str(error), Cause.CONFIG)
    log.say("".join(traceback.format_exception(error)))
    what = f"{type(error).__name__}: {error}"[:_MESSAGE_CHARACTERS]
    return Ending(ExitCode.CRASHED, f"{what}. The attempt's log has the traceback.", Cause.CRASHED)


def _conclude(run: Store, plan: LaunchPlan, claim: Claim, ending: Ending, log: Log) -> int:
    log.say(f"{ending.result}: {ending.message.splitlines()[0] if ending.message else ''}")
    log.flush()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    outcome = Outcome(
        attempt=claim.attempt,
        launch=plan.launch,
        kind=plan.step,
        result=ending.result,
        exit_code=int(ending.exit_code),
        cause=ending.cause,
        message=ending.message,
        started=claim.time,
        ended=time.time(),
        facts={**ending.facts, "python": platform.python_version(), "peak_memory_bytes": memory},
    )
    try:
        run.create(f"{attempt_key(claim.attempt)}/outcome.json", outcome.to_json())
    except OSError as error:
        print(f"the outcome cannot be written: {error}", file=sys.stderr)
        return ExitCode.STORAGE
    return int(ending.exit_code)


@contextlib.contextmanager
def _scratch_folder(run: str, attempt: int) -> Iterator[Path]:
    """A folder of this attempt's own below `AXO_SCRATCH`, gone at the end."""
    top = os.environ.get("AXO_SCRATCH") or tempfile.gettempdir()
    os.makedirs(top, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f"axo-{run[:40]}-{attempt}-", dir=top))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
