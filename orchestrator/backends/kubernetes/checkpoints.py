"""What schedulers can read on a Job: how far its newest checkpoint is, so that they pick cheap victims.

Volcano evicts who has saved last, by an annotation of its own; people and other schedulers find the step as
well. Kueue looks at nothing of the kind yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from orchestrator.backends.kubernetes.objects import met, seconds

NOTE_SECONDS = 1800.0  # each is a write to the cluster's database, and all who watch the Job are told
STEP, TIME, VOLCANO = "axo/checkpoint-step", "axo/checkpoint-time", "volcano.sh/last-checkpoint-time"
NOTED = "axo/checkpoint-noted"

Object = Mapping[str, Any]


def checkpoint_note(job: Object, step: int, saved: float, now: float) -> Object | None:
    """The change of a Job that notes its newest checkpoint; None where that is known, or it is too early.

    The Job itself says when it was last noted, so that a restart forgets nothing; that nothing else has been
    written since is a precondition, so that two of us write once.
    """
    metadata, annotations = job["metadata"], met(job, "metadata", "annotations") or {}
    noted = seconds(annotations.get(NOTED))
    if annotations.get(STEP) == str(step) or (noted is not None and 0 <= now - noted < NOTE_SECONDS):
        return None
    when = _timestamp(saved)
    note = {STEP: str(step), TIME: when, VOLCANO: when, NOTED: _timestamp(now)}
    same = {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}
    return {"metadata": {**same, "annotations": note}}


def _timestamp(when: float) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
