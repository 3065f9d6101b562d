from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from orchestrator.contract import Cause, ExitCode, FileStore, LaunchPlan, launch_key
from orchestrator.trainer.endings import failed
from orchestrator.trainer.handover import Order
from orchestrator.trainer.ranks import Ranks
from orchestrator.trainer.session import Session


@pytest.fixture
def order(tmp_path: Path) -> Order:
    plan = LaunchPlan(
        run="r", launch=1, step="train", model="models/m", dataset="datasets/d", base_model="acme/tiny"
    )
    FileStore(tmp_path / "run").write(f"{launch_key(1)}/plan.json", plan.to_json())
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Order(str(tmp_path / "run"), launch=1, attempt=1, parent=os.getpid(), scratch=str(scratch))


def listen_and_be_told(order: Order, *, forked: bool) -> int:
    """The status of a rank, or of a worker that it forked, which was sent SIGTERM before training."""
    if not (rank := os.fork()):
        Session(order, Ranks()).listen()
        if forked and (worker := os.fork()):
            os._exit(os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) & 0xFF)
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(rank, 0)[1])


def test_a_rank_that_is_told_to_stop_says_how_it_ended(order: Order) -> None:
    assert listen_and_be_told(order, forked=False) == 75
    assert order.ending(0).exists()


def test_a_forked_worker_dies_of_the_signal_and_says_nothing(order: Order) -> None:
    assert listen_and_be_told(order, forked=True) == -signal.SIGTERM & 0xFF
    assert not order.ending(0).exists()


def test_an_ending_that_a_full_disk_does_not_take_is_told_by_the_code(order: Order) -> None:
    order.ending(0).symlink_to("/dev/full")
    if not (rank := os.fork()):
        Session(order, Ranks()).leave(failed(Cause.STORAGE, "the disk is full"))
    assert os.waitstatus_to_exitcode(os.waitpid(rank, 0)[1]) == ExitCode.STORAGE
