"""What a Job tells of its newest checkpoint, and how seldom."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from orchestrator.backends.kubernetes.checkpoints import NOTED, STEP, TIME, VOLCANO, checkpoint_note

NOON = 1796040000.0  # 2026-11-30T12:00:00Z
Object = dict[str, Any]


def job(**annotations: str) -> Object:
    return {"metadata": {"uid": "u", "resourceVersion": "7", "annotations": annotations}}


def noted(thing: Object, note: Any) -> Object:
    """The Job after the change."""
    merged = thing["metadata"]["annotations"] | note["metadata"]["annotations"]
    return {"metadata": {**thing["metadata"], "annotations": merged}}


def test_a_checkpoint_is_told_with_its_step_and_time() -> None:
    note = checkpoint_note(job(a="b"), 120, NOON - 60, NOON)
    assert note == {
        "metadata": {
            "uid": "u",
            "resourceVersion": "7",
            "annotations": {
                STEP: "120",
                TIME: "2026-11-30T11:59:00Z",
                VOLCANO: "2026-11-30T11:59:00Z",
                NOTED: "2026-11-30T12:00:00Z",
            },
        }
    }


def test_a_day_of_checkpoints_each_minute_is_told_each_half_hour() -> None:
    thing, writes = job(), list[float]()
    for minute in range(24 * 60):
        for look in (0.0, 0.5):
            now = NOON + minute * 60 + look
            if note := checkpoint_note(thing, minute, NOON + minute * 60, now):
                thing = noted(thing, note)
                writes.append(now)
    assert len(writes) == 48
    assert min(b - a for a, b in pairwise(writes)) >= 1800


def test_what_is_known_is_not_told_again() -> None:
    first = checkpoint_note(job(), 120, NOON, NOON)
    assert checkpoint_note(noted(job(), first), 120, NOON, NOON + 10_000) is None


@pytest.mark.parametrize("when", ["", "yesterday", "2026-11-30T14:00:00Z"])
def test_an_annotation_that_is_not_ours_or_of_the_future_holds_nothing_up(when: str) -> None:
    assert checkpoint_note(job(**{NOTED: when}), 4, NOON, NOON) is not None
