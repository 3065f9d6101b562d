"""What a launch runs in the crash proofs: a real process that keeps the trainer's contract and takes no time.

`stand_in.py <step> <run folder> <launch>`. Beside the storage, `hold` makes training wait until it is told
to leave or the file is gone; `stall` makes it do so once; `evict` has the next training kill itself half way.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Literal

from orchestrator import contract
from orchestrator.contract import Cause, ExitCode, Manifest, Outcome, Record, Result, StreamWriter

STEPS = 5
DIGEST = "d" * 64
PREPARED = {
    "model": "m" * 64,
    "dataset": DIGEST,
    "input_key": "input",
    "dataset_facts": {
        "rows": 100,
        "validation_rows": 0,
        "tokens": 5000,
        "trained_tokens": 500,
        "longest": 60,
        "digest": DIGEST,
    },
}


def main(step: str, folder: str, launch: int) -> int:
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    run = contract.open_store(folder)
    home = Path(folder.removeprefix("file://")).parents[2]
    with (home / "starts").open("a") as starts:
        starts.write(f"{Path(folder).name} {launch} {os.getpid()}\n")
    claim = contract.claim_attempt(run, launch, host="stand-in", pid=os.getpid(), now=time.time())
    if step == "prepare":
        storage = contract.open_store((home / "storage").as_uri())
        storage.write(f"{contract.dataset_key(DIGEST)}/train.jsonl", b"{}")
        storage.write("inputs/input.json", b'{"splits": {}}')
        return _end(run, claim, "prepare", Result.SUCCESS, PREPARED)
    if not _train(run, claim, home, told):
        _weights(run, contract.checkpoint_key(STEPS), "checkpoint")
        return _end(run, claim, "train", Result.INTERRUPTED, {})
    _weights(run, contract.ADAPTER, "adapter")
    return _end(run, claim, "train", Result.SUCCESS, {"peak_memory_bytes": 5})


def _train(run: contract.Store, claim: contract.Claim, home: Path, told: list[int]) -> bool:
    """Whether it got to its end."""
    record = StreamWriter(run, claim.attempt, "metrics")
    record.append(Record("start", 0, time.time(), {"total_steps": STEPS}).to_line())
    for step in range(1, STEPS + 1):
        record.append(Record("metrics", step, time.time(), {"loss": 1.0 / step}).to_line())
        record.flush()
        if step == 2 and (home / "evict").exists():
            (home / "evict").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
    while ((home / "hold").exists() or (home / "stall").exists()) and not told:
        time.sleep(0.01)
    if told:
        (home / "stall").unlink(missing_ok=True)
    return not told


def _weights(run: contract.Store, folder: str, kind: Literal["adapter", "checkpoint"]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "adapter_config.json").write_text('{"r": 8}')
        (Path(scratch) / "adapter_model.safetensors").write_bytes(b"\0" * 100)
        contract.commit_folder(run, Path(scratch), folder, Manifest(kind, (), step=STEPS))


def _end(
    run: contract.Store, claim: contract.Claim, step: str, result: Result, facts: dict[str, object]
) -> int:
    code = ExitCode.SUCCESS if result is Result.SUCCESS else ExitCode.INTERRUPTED
    cause = None if result is Result.SUCCESS else Cause.STOPPED
    outcome = Outcome(
        claim.attempt,
        claim.launch,
        step,
        result,
        int(code),
        cause,
        ended=time.time(),
        facts=facts,  # type: ignore[arg-type]
    )
    run.create(f"attempts/{claim.attempt}/outcome.json", outcome.to_json())
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
