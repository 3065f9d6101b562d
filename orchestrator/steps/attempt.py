"""One attempt of a step: claim it, run it, log it, and write how it ended.

    python -m orchestrator.steps <run folder or URL> <launch>

The same contract as the trainer's: exit codes of `contract.ExitCode`, and `outcome.json` as the truth.
"""

from __future__ import annotations

import os
import platform
import resource
import socket
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
    StorageAway,
    Store,
    attempt_key,
    claim_attempt,
    launch_key,
    open_store,
    storage_of,
)
from orchestrator.contract.program import STORAGE_PATIENCE, Log, scratch_folder
from orchestrator.errors import DataError, FaultsError, OrchestratorError
from orchestrator.signals import Signals, Stopped
from orchestrator.steps.work import Work

_USAGE = "usage: python -m orchestrator.steps <run folder or URL> <launch>"
_MESSAGE_CHARACTERS = 2000

Facts = Mapping[str, Any]


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


def main(arguments: Sequence[str]) -> int:
    """Run one attempt of a launch; its exit code."""
    signals = Signals()
    signals.listen()
    if len(arguments) != 2 or not arguments[1].isdigit():
        print(_USAGE, file=sys.stderr)
        return ExitCode.CONFIG
    try:
        run = open_store(arguments[0], STORAGE_PATIENCE)
        plan = LaunchPlan.from_json(run.read(f"{launch_key(int(arguments[1]))}/plan.json"))
        claim = claim_attempt(run, plan.launch, host=socket.gethostname(), pid=os.getpid(), now=time.time())
    except (ContractError, FileNotFoundError, ValueError, TypeError) as error:
        print(f"the launch cannot be started: {error}", file=sys.stderr)
        return ExitCode.CONFIG
    except OSError as error:
        print(f"storage cannot be used: {error}", file=sys.stderr)
        return ExitCode.STORAGE
    return _run(run, plan, claim, signals)


def _run(run: Store, plan: LaunchPlan, claim: Claim, signals: Signals) -> int:
    log = Log(run, claim.attempt, plan.step)
    log.say(f"attempt {claim.attempt} of run {plan.run}, launch {plan.launch}: {plan.step}")
    try:
        with signals.raising(), scratch_folder(plan.run, claim.attempt, os.environ) as scratch:
            storage = open_store(storage_of(run.url), STORAGE_PATIENCE)
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
    if isinstance(error, StorageAway):
        return Ending(ExitCode.INTERRUPTED, f"Storage cannot be reached: {error}.", Cause.STORAGE_AWAY)
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
