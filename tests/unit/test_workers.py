"""Hands do one piece of work for each key, side by side; what hangs holds up no other; launches are paced."""

from __future__ import annotations

import threading

import pytest

from orchestrator.controller import workers
from orchestrator.controller.pace import Pace
from orchestrator.controller.workers import Hands, turning
from orchestrator.db import LeaseLost


def test_a_key_is_in_one_hand_and_a_full_pair_of_hands_takes_no_more() -> None:
    hands, go, over = Hands("test", 2, threading.Event()), threading.Event(), threading.Event()
    assert hands.take("a", go.wait)
    assert not hands.take("a", over.set)
    assert hands.take("b", go.wait)
    assert not hands.take("c", over.set)
    go.set()
    assert hands.wait_done(5)
    assert hands.take("a", over.set)
    assert over.wait(5)


def test_what_hangs_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "STUCK_SECONDS", 0.0)
    hands, never, done = Hands("test", 1, threading.Event()), threading.Event(), threading.Event()
    assert hands.take("stuck", never.wait)
    assert hands.take("another", done.set)
    assert done.wait(5)
    never.set()


def test_a_lost_lease_is_the_end_for_all_and_a_fault_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "FAULT_SECONDS", 0.0)
    turns, over = iter([ValueError("once"), LeaseLost()]), threading.Event()

    def turn() -> float:
        raise next(turns)

    turning("test", turn, over)
    assert over.wait(5)
    assert next(turns, None) is None


def test_launches_are_paced_and_a_clock_that_is_set_back_gives_none() -> None:
    pace, begun = Pace(5.0), 0
    for tick in range(100):  # ten seconds
        for _ in range(pace.free(1_000.0 + tick / 10)):
            pace.spend()
            begun += 1
    assert 49 <= begun <= 51
    for _ in range(pace.free(1_010.0)):
        pace.spend()
    assert pace.free(0.0) == 0
    assert pace.free(0.3) == 1
    assert pace.free(100.0) == 5, "no more at once than in a second"
