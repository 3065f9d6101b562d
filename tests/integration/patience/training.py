"""What a launch runs in the proofs of patience: a real process that keeps the trainer's contract.

`training.py <step> <run folder> <launch>`. Training takes a second to begin, then records ten steps a second
until it is told to leave. Beside the storage, `hang` makes the next training freeze at its fifth step.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from orchestrator import contract
from orchestrator.contract import Cause, ExitCode, Outcome, Record, Result, StreamWriter

DIGEST = "d" * 64
FACTS = {"rows": 100, "validation_rows": 0, "tokens": 5000, "trained_tokens": 500, "longest": 60}
PREPARED = {"model": "m" * 64, "dataset": DIGEST, "dataset_facts": {**FACTS, "digest": DIGEST}}
STARTING_SECONDS, STEP_SECONDS, STEPS = 1.0, 0.1, 200


def main(step: str, folder: str, launch: int) -> int:
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    run, home = contract.open_store(folder), Path(folder.removeprefix("file://")).parents[2]
    claim = contract.claim_attempt(run, launch, host="here", pid=os.getpid(), now=time.time())
    if step == "train":
        _train(run, claim, home, told)
    result, code = (Result.INTERRUPTED, ExitCode.INTERRUPTED) if told else (Result.SUCCESS, ExitCode.SUCCESS)
    cause = Cause.STOPPED if told else None
    facts = PREPARED if step == "prepare" else {}
    outcome = Outcome(claim.attempt, launch, step, result, int(code), cause, ended=time.time(), facts=facts)  # type: ignore[arg-type]
    run.create(f"attempts/{claim.attempt}/outcome.json", outcome.to_json())
    return int(code)


def _train(run: contract.Store, claim: contract.Claim, home: Path, told: list[int]) -> None:
    time.sleep(STARTING_SECONDS)
    record = StreamWriter(run, claim.attempt, "metrics")
    record.append(Record("start", 0, time.time(), {"total_steps": STEPS}).to_line())
    for step in range(1, STEPS + 1):
        record.append(Record("metrics", step, time.time(), {"loss": 1.0 / step}).to_line())
        record.flush()
        if step == 5 and (home / "hang").exists():
            (home / "hang").unlink()
            os.kill(os.getpid(), signal.SIGSTOP)
        if told or (home / "enough").exists():
            return
        time.sleep(STEP_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
