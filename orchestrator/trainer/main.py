"""The parent: claims an attempt, prepares it, runs the children, and writes how they ended.

Standard library only, and quick: its signal handlers stand before anything else is done.
"""

from __future__ import annotations

import os
import platform
import resource
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.contract import (
    ADAPTER,
    Cause,
    Claim,
    ContractError,
    ExitCode,
    Fence,
    LaunchPlan,
    Manifest,
    Outcome,
    Result,
    Store,
    attempt_key,
    claim_attempt,
    open_store,
    parse_records,
    read_manifest,
    read_stream,
    storage_of,
    verify_folder,
)
from orchestrator.contract.program import STORAGE_PATIENCE, Log, scratch_folder
from orchestrator.signals import Signals, Stopped
from orchestrator.trainer import oom
from orchestrator.trainer.checkpoints import choose
from orchestrator.trainer.endings import (
    Ending,
    Phase,
    failed,
    first_failure,
    from_exception,
    from_exit,
    of_killed_worker,
    stopped,
    success,
)
from orchestrator.trainer.handover import Order, read_plan
from orchestrator.trainer.launcher import Child, Exit, run_children
from orchestrator.trainer.ranks import rendezvous
from orchestrator.trainer.work import child_environment, lay_out, overlay

_USAGE = "usage: python -m orchestrator.trainer <run folder or URL> <launch>"


def main(arguments: Sequence[str], signals: Signals) -> int:
    """Run one attempt of a launch; its `contract.ExitCode`."""
    if len(arguments) != 2 or not arguments[1].isdigit():
        print(_USAGE, file=sys.stderr)
        return ExitCode.CONFIG
    started = time.time()
    try:
        run = open_store(arguments[0], STORAGE_PATIENCE)
        plan = read_plan(run, int(arguments[1]))
        claim = claim_attempt(run, plan.launch, host=socket.gethostname(), pid=os.getpid(), now=started)
    except (ContractError, OSError, ValueError) as error:
        print(f"the launch cannot be started: {error}", file=sys.stderr)
        return (
            ExitCode.CONFIG
            if isinstance(error, ContractError | ValueError | FileNotFoundError)
            else ExitCode.STORAGE
        )
    return _Attempt(run, plan, claim, signals).execute()


class _Attempt:
    """One attempt, from its claim to its outcome."""

    def __init__(self, run: Store, plan: LaunchPlan, claim: Claim, signals: Signals) -> None:
        self.run, self.plan, self.claim, self.signals = run, plan, claim, signals
        self.log = Log(run, claim.attempt, "trainer")

    def execute(self) -> int:
        self.log.say(f"attempt {self.claim.attempt} of run {self.plan.run}, launch {self.plan.launch}")
        try:
            ending = self._ending()
        except Stopped:
            ending = stopped("Stopped before training began; a new start goes on.")
        except Exception as error:
            ending = from_exception(error, Phase.STARTING)
        return self._conclude(ending)

    def _ending(self) -> Ending:
        if self.plan.step not in ("train", "evaluate"):
            return failed(Cause.CONFIG, f"The trainer does not run a step of kind {self.plan.step}.")
        with self.signals.raising():
            if self.plan.step == "train" and (manifest := _committed_adapter(self.run)):
                return _already_trained(manifest)
        with scratch_folder(self.plan.run, self.claim.attempt, os.environ) as scratch:
            with self.signals.raising():
                order = self._prepare(scratch)
            return self._run(order)

    def _prepare(self, scratch: Path) -> Order:
        storage = open_store(storage_of(self.run.url), STORAGE_PATIENCE)
        order = Order(self.run.url, self.plan.launch, self.claim.attempt, os.getpid(), str(scratch))
        lay_out(storage, self.run, self.plan, order.work)
        if self.plan.step == "train":
            order = self._resume(order)
            added = overlay(order.resume_from)
            (order.work / "overlay.yaml").write_bytes(added)
            self.run.create(f"{attempt_key(self.claim.attempt)}/overlay.yaml", added)
        return order

    def _resume(self, order: Order) -> Order:
        fence = Fence(self.run, self.claim.attempt)
        chosen = choose(self.run, order.work / "output", fence, self.log.say)
        if chosen is None:
            self.log.say("starting from step 0")
            return order
        self.log.say(f"going on from step {chosen.step}")
        if chosen.devices != self.plan.devices:
            self.log.say(
                f"That checkpoint was written by {chosen.devices} devices, and there are {self.plan.devices} "
                "now: what they draw at random (dropout) is no longer what it would have been."
            )
        return order.resuming(chosen.step, evaluation_due=chosen.evaluation_due)

    def _run(self, order: Order) -> Ending:
        command = [sys.executable, "-P", "-m", "orchestrator.trainer.train", str(order.write())]
        devices = self.plan.devices if self.plan.step == "train" else 1
        environment = child_environment(Path(order.scratch), self.plan.device, devices, os.environ, order.run)
        kills = oom.kills()
        with rendezvous(devices) as place:
            children = [
                Child(rank, place.environment(rank, environment), place.handles(rank))
                for rank in range(devices)
            ]
            exits = run_children(command, children, folder=order.work, signals=self.signals, log=self.log)
        ending = self._cause(exits, order, oom_killed=oom.kills() > kills)
        return replace(ending, facts={**ending.facts, "peak_memory_bytes": _peak_memory()})

    def _cause(self, exits: Sequence[Exit], order: Order, *, oom_killed: bool) -> Ending:
        """How the children ended together. Rank 0 commits the adapter: its success is the step's."""
        failures = [each for each in exits if each.code and not each.ours]
        if not failures or any(each.rank == 0 and each.code == 0 for each in exits):
            return self._said(Exit(0, 0), order, oom_killed=False)
        endings = [self._said(failure, order, oom_killed=oom_killed) for failure in failures]
        chosen = first_failure(endings)
        ending, rank = endings[chosen], failures[chosen].rank
        if len(exits) > 1 and ending.result is Result.FAILED:
            ending = replace(ending, message=f"Rank {rank}: {ending.message}")
        return ending

    def _said(self, left: Exit, order: Order, *, oom_killed: bool) -> Ending:
        """What a child said of its end or, where it could not, what its exit code says."""
        ending = Ending.read(order.ending(left.rank))
        if ending is not None and left.code == ending.exit_code:
            return of_killed_worker(ending) if oom_killed else ending
        ending = from_exit(left.code, stopping=self.signals.stopping, oom_killed=oom_killed)
        return self._with_progress(ending, order)

    def _with_progress(self, ending: Ending, order: Order) -> Ending:
        """How far a child came that could not say so itself: what its metric record shows."""
        records, _ = parse_records(read_stream(self.run, self.claim.attempt, "metrics"))
        totals = [record.values.get("total_steps") for record in records if record.kind == "start"]
        steps = [record.step for record in records]
        facts = {**ending.facts, "resumed_from": order.resume_from}
        if steps:
            ending = replace(
                ending, step=max(steps), total_steps=int(totals[0]) if totals and totals[0] else None
            )
        return replace(ending, facts=facts)

    def _conclude(self, ending: Ending) -> int:
        self.log.say(f"{ending.result}: {ending.message}")
        self.log.flush()
        try:
            self.run.create(
                f"{attempt_key(self.claim.attempt)}/outcome.json", self._outcome(ending).to_json()
            )
        except OSError as error:
            print(f"the outcome cannot be written: {error}", file=sys.stderr)
            return ExitCode.STORAGE
        return int(ending.exit_code)

    def _outcome(self, ending: Ending) -> Outcome:
        facts: dict[str, Any] = {**ending.facts, "python": platform.python_version()}
        return Outcome(
            attempt=self.claim.attempt,
            launch=self.plan.launch,
            kind=self.plan.step,
            result=ending.result,
            exit_code=int(ending.exit_code),
            cause=ending.cause,
            message=ending.message,
            step=ending.step,
            total_steps=ending.total_steps,
            started=self.claim.time,
            ended=time.time(),
            facts=facts,
        )


def _committed_adapter(run: Store) -> Manifest | None:
    """The manifest of an adapter that is whole to the last byte, or None."""
    manifest = read_manifest(run, ADAPTER)
    return manifest if manifest is not None and not verify_folder(run, ADAPTER) else None


def _already_trained(manifest: Manifest) -> Ending:
    ending = success("The adapter of this run is whole; nothing was left to train.")
    total = manifest.facts.get("total_steps")
    return replace(
        ending, step=manifest.step, total_steps=total, facts={**manifest.facts, "trained_before": True}
    )


def _peak_memory() -> int:
    """Peak resident memory, in bytes, of the largest child waited for."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
