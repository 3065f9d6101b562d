"""The state of one rank in training: how far it is, whether it was told to stop, how it leaves."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from dataclasses import replace
from types import FrameType
from typing import Any, NoReturn

from orchestrator.contract import DISCARD, Fence, LaunchPlan, Store
from orchestrator.trainer.endings import Ending, Phase, stopped
from orchestrator.trainer.handover import Order, read_plan
from orchestrator.trainer.ranks import Ranks
from orchestrator.trainer.record import MetricRecord, Silence
from orchestrator.trainer.report import reports_of


class Session:
    """One rank's state. `step` and `committed` are the last step done and the last one committed."""

    def __init__(self, order: Order, ranks: Ranks) -> None:
        self.order, self.ranks = order, ranks
        self.run: Store = order.store
        self.plan: LaunchPlan = read_plan(self.run, order.launch)
        self.fence = Fence(self.run, order.attempt)
        self.record = self._record() if ranks.first else Silence()
        self.phase = Phase.STARTING
        self.stopping = False
        self.step: int | None = order.resume_from
        self.committed: int | None = order.resume_from
        self.total_steps: int | None = None
        self.facts: dict[str, Any] = {"resumed_from": order.resume_from, "devices": ranks.size}
        self.counts: dict[str, float] = {}
        self._began = time.monotonic()
        self._process = os.getpid()
        self.plugged = False  # Axolotl goes on without a plugin that it cannot import

    def _record(self) -> MetricRecord:
        reports = reports_of(os.environ, self.plan.run, self.order.launch, self.order.attempt)
        return MetricRecord(self.run, self.order.attempt, reports)

    def listen(self) -> None:
        """Take SIGTERM and SIGINT; again once Axolotl has put its own SIGINT handler in place, which
        would save a half-trained adapter and exit with 0."""
        signal.signal(signal.SIGTERM, self._told_to_stop)
        signal.signal(signal.SIGINT, self._told_to_stop)

    def begin_training(self) -> None:
        self.phase = Phase.TRAINING
        self.facts["loading_seconds"] = round(time.monotonic() - self._began, 3)
        self._began = time.monotonic()

    def leave(self, ending: Ending) -> NoReturn:
        """Say how it ended and end this process now: no later code of Axolotl's runs, so nothing of
        a partial run can be saved as if it were finished."""
        facts = {**self.counts, **self.facts, **_device_facts(), **ending.facts}
        if self.plan.step == "train":
            facts |= self._progress(ending)
        whole = replace(ending, step=self.step, total_steps=self.total_steps, facts=facts)
        with contextlib.suppress(OSError):  # a full disk: the exit code says that much
            whole.write(self.order.ending(self.ranks.rank))
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):  # a signal may have come in the middle of a write
                stream.flush()
        os._exit(ending.exit_code)

    def _progress(self, ending: Ending) -> dict[str, Any]:
        """`lost_steps` were done and are in no checkpoint: a new start does them again."""
        lost = 0 if ending.cause is None else (self.step or 0) - (self.committed or 0)
        progress: dict[str, Any] = {"checkpoint": self.committed, "lost_steps": lost}
        if self.phase in (Phase.TRAINING, Phase.SAVING):
            progress["training_seconds"] = round(time.monotonic() - self._began, 3)
        return progress

    def stop_ending(self) -> Ending:
        if self.phase in (Phase.TRAINING, Phase.SAVING) and self.step:
            return stopped(
                f"Stopped after step {self.step} of {self.total_steps}; a new start goes on from there."
            )
        return stopped("Stopped before training began; a new start goes on.")

    def _told_to_stop(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:  # a worker that was forked: it has no say in how the rank ends
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        self.stopping = True
        if self._discarded():
            self.leave(stopped("Stopped at once: nothing of it is to be kept."))
        if self._nothing_to_lose():
            self.leave(self.stop_ending())

    def _discarded(self) -> bool:
        with contextlib.suppress(OSError):
            self.run.read(DISCARD)
            return True
        return False

    def _nothing_to_lose(self) -> bool:
        """Before training there is nothing to save; after it, only what the last checkpoint holds."""
        if self.phase is Phase.SAVING:
            return self.committed is not None and self.committed == self.step
        return self.phase is not Phase.TRAINING


_current: list[Session] = []


def begin(order: Order, ranks: Ranks) -> Session:
    """Make this process's session. The plugin, which Axolotl makes by name, finds it by `current`."""
    _current[:] = [Session(order, ranks)]
    return _current[0]


def current() -> Session:
    return _current[0]


def _device_facts() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    with contextlib.suppress(AttributeError):  # torch may be half imported
        if torch and torch.cuda.is_initialized():
            return {
                "peak_gpu_memory_bytes": torch.cuda.max_memory_allocated(),
                "device": torch.cuda.get_device_name(),
            }
    return {}
