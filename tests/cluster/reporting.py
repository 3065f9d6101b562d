"""What pods run that report: a record of steps as a trainer keeps it, until told to leave; no Axolotl.

`.. <run folder> <launch>`. It leaves its credential in `token-<attempt>`, for a test to try.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from orchestrator import contract
from orchestrator.trainer.record import MetricRecord
from orchestrator.trainer.report import reports_of

STEPS = 20


def main() -> int:
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    run, launch = contract.open_store(sys.argv[1]), int(sys.argv[2])
    name = sys.argv[1].rpartition("/")[2]
    claim = contract.claim_attempt(run, launch, host="pod", pid=os.getpid(), now=0.0)
    token = Path(os.environ[contract.REPORT_TOKEN]).read_bytes()
    run.write(f"token-{claim.attempt}", token)
    record = MetricRecord(run, claim.attempt, reports_of(os.environ, name, launch, claim.attempt))
    record.start(0, {"total_steps": STEPS})
    first = 1 + (claim.attempt - 1) * STEPS // 2
    for step in range(first, first + STEPS):
        record.metrics(step, {"loss": 1 / step})
        told.wait(0.05)
    told.wait()
    record.flush()
    return contract.ExitCode.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
