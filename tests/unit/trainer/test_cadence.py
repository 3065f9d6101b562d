"""Checkpoints by the clock: often enough, and never dear."""

from __future__ import annotations

import pytest

from orchestrator.trainer.cadence import LARGEST_SHARE, Cadence


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_counts_from_the_end_of_the_last_save_whoever_asked_for_it() -> None:
    clock = Clock()
    cadence = Cadence(60, clock)
    clock.now = 300  # loading took long
    cadence.begin()
    clock.now = 359
    assert not cadence.due()
    clock.now = 360
    assert cadence.due()
    cadence.saving()
    clock.now = 361
    cadence.saved()
    clock.now = 420
    assert not cadence.due()
    clock.now = 421
    assert cadence.due()
    assert cadence.facts == {"saves": 1, "save_seconds": 1.0}


def test_a_slow_save_makes_the_next_one_wait() -> None:
    clock = Clock()
    cadence = Cadence(60, clock)
    saving = training = 0.0
    for _ in range(100):
        while not cadence.due():
            clock.now += 1
            training += 1
        cadence.saving()
        clock.now += 30
        saving += 30
        cadence.saved()
    assert saving / (saving + training) == pytest.approx(LARGEST_SHARE, rel=0.1)


def test_without_seconds_it_is_never_due() -> None:
    clock = Clock()
    cadence = Cadence(None, clock)
    clock.now = 1e9
    assert not cadence.due()
    assert cadence.facts == {"saves": 0}
