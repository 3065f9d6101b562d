"""What launches run in the proofs of disruption: the trainer's contract, kept with next to no computing.

It stands where `orchestrator.steps` and `orchestrator.trainer` are: `.. <run folder> <launch>`. Training is a
chain of hashes with a checkpoint each few steps: one that is lost, repeated or another run's shows in the
weights. Beside the run, a file `hold` makes it wait at the step that it names, and a file `last-words` has
what it says instead of beginning.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from orchestrator import contract
from orchestrator.contract import (
    Cause,
    ExitCode,
    Fence,
    Fenced,
    Manifest,
    Outcome,
    Record,
    Result,
    StepKind,
    StreamWriter,
)

STEPS, SAVE_EVERY, STEP_SECONDS = 40, 4, 0.05
PREPARED: dict[str, Any] = {
    "model": "m" * 64,
    "dataset": "d" * 64,
    "input_key": "input",
    "dataset_facts": {
        "rows": 100,
        "validation_rows": 0,
        "tokens": 5000,
        "trained_tokens": 500,
        "longest": 60,
        "digest": "d" * 64,
    },
}


def trained(run: str, first: int, last: int, state: bytes) -> bytes:
    """The state after the steps from `first` to `last` of a run."""
    for step in range(first, last + 1):
        state = hashlib.sha256(state + f"{run} {step}".encode()).digest()
    return state


def weights(run: str) -> bytes:
    """What a run that nobody disturbs ends with."""
    return trained(run, 1, STEPS, b"")


class Attempt:
    def __init__(self, folder: str, launch: int) -> None:
        self.run = contract.open_store(folder)
        self.name = folder.rstrip("/").rpartition("/")[2]
        self.path = Path(folder.removeprefix("file://"))
        self.launch, self.told = launch, False
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "told", True))
        host = os.environ.get("HOSTNAME", "")
        self.claim = contract.claim_attempt(self.run, launch, host=host, pid=os.getpid(), now=time.time())
        self.fence = Fence(self.run, self.claim.attempt)
        self.record = StreamWriter(self.run, self.claim.attempt, "metrics")

    def prepare(self) -> int:
        self.path.parents[1].joinpath("inputs").mkdir(exist_ok=True)
        contract.open_store(self.path.parents[1].as_uri()).write("inputs/input.json", b'{"splits": {}}')
        return self.end("prepare", Result.SUCCESS, facts=PREPARED)

    def train(self) -> int:
        try:
            return self._train()
        except Fenced:
            return self.end("train", Result.INTERRUPTED, Cause.FENCED)

    def _train(self) -> int:
        if contract.read_manifest(self.run, contract.ADAPTER):
            return self.end("train", Result.SUCCESS, facts={"peak_memory_bytes": 5})
        step, state = self._resumed()
        self._say("start", step, total_steps=STEPS, resumed_from=step)
        while step < STEPS:
            if self.told or self._held(step):
                self._save(step, state)
                return self.end("train", Result.INTERRUPTED, Cause.STOPPED, step=step)
            time.sleep(STEP_SECONDS)
            step += 1
            state = trained(self.name, step, step, state)
            self._say("metrics", step, loss=1.0 / step)
            if step % SAVE_EVERY == 0:
                self._save(step, state)
        with tempfile.TemporaryDirectory() as scratch:
            (Path(scratch) / "adapter_config.json").write_text('{"r": 8}')
            (Path(scratch) / "adapter_model.safetensors").write_bytes(state)
            adapter = Manifest("adapter", (), step=STEPS, attempt=self.claim.attempt)
            contract.commit_folder(self.run, Path(scratch), contract.ADAPTER, adapter, guard=self.fence)
        return self.end("train", Result.SUCCESS, step=STEPS, facts={"peak_memory_bytes": 5})

    def _resumed(self) -> tuple[int, bytes]:
        """The newest whole checkpoint."""
        for step in contract.checkpoint_steps(self.run):
            key = contract.checkpoint_key(step)
            if contract.read_manifest(self.run, key) and not contract.verify_folder(self.run, key):
                return step, self.run.read(f"{key}/state")
        return 0, b""

    def _held(self, step: int) -> bool:
        """Wait where the test wants it; whether it was told to leave meanwhile."""
        hold = self.path / "hold"
        while hold.exists() and step >= int(hold.read_text() or 0) and not self.told:
            self.fence.check()
            time.sleep(0.05)
        return self.told

    def _save(self, step: int, state: bytes) -> None:
        key = contract.checkpoint_key(step)
        self.fence.check()
        if step == 0 or contract.read_manifest(self.run, key):
            return
        with tempfile.TemporaryDirectory() as scratch:
            (Path(scratch) / "state").write_bytes(state)
            manifest = Manifest("checkpoint", (), step=step, attempt=self.claim.attempt)
            contract.commit_folder(self.run, Path(scratch), key, manifest, guard=self.fence)
        self._say("checkpoint", step)

    def _say(self, kind: Any, step: int, **values: float) -> None:
        self.record.append(Record(kind, step, time.time(), values).to_line())
        self.record.flush()

    def end(self, kind: StepKind, result: Result, cause: Cause | None = None, **more: Any) -> int:
        code = ExitCode.SUCCESS if result is Result.SUCCESS else ExitCode.INTERRUPTED
        said = Outcome(
            self.claim.attempt, self.launch, kind, result, int(code), cause, ended=time.time(), **more
        )
        self.run.create(f"attempts/{self.claim.attempt}/outcome.json", said.to_json())
        return int(code)


def main(folder: str, launch: int) -> int:
    plan = json.loads(contract.open_store(folder).read(f"launches/{launch}/plan.json"))
    if (words := Path(folder.removeprefix("file://")) / "last-words").exists():
        sys.exit(words.read_text())
    attempt = Attempt(folder, launch)
    return attempt.prepare() if plan["step"] == "prepare" else attempt.train()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
