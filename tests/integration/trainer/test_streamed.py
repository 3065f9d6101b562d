"""Texts that are packed while they are read: a stop in any pass changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from training_lab import STREAMED, Lab, Run

from orchestrator.contract import ExitCode

# Where stops are tried: in the second pass, whose buffers' order the first attempt drew in the first.
STOPS = range(2, 19, 2) if os.environ.get("AXO_PROVE") == "1" else [15]


@pytest.fixture(scope="module")
def undisturbed(lab: Lab) -> Callable[[], Run]:
    """A run that nobody stops, begun now; it is waited for when it is asked for."""
    run = lab.run("streamed", STREAMED)
    attempt = run.start()

    def ended() -> Run:
        assert attempt.wait() == 0, run.log()[-3000:]
        assert run.outcome().facts["epoch"] > 1.2
        return run

    return ended


@pytest.mark.skipif(os.environ.get("AXO_PROVE") != "1", reason="a long proof: scripts/prove trainer")
def test_every_loss_and_tensor_is_that_of_bare_axolotl(lab: Lab, undisturbed: Callable[[], Run]) -> None:
    bare, whole = lab.baseline("streamed", STREAMED), undisturbed()
    assert whole.tensors == bare.tensors
    assert losses(whole.points) == losses(bare.points)


@pytest.mark.parametrize("step", STOPS)
def test_a_stop_in_any_pass_changes_nothing(lab: Lab, undisturbed: Callable[[], Run], step: int) -> None:
    run = lab.run(f"streamed-stopped-{step}", STREAMED)
    assert run.interrupt(step) == ExitCode.INTERRUPTED, run.log()[-3000:]
    assert run.finish() == 0, run.log(2)[-3000:]
    assert run.outcome().facts["resumed_from"] == run.outcome(1).step
    whole = undisturbed()
    assert losses(run.points) == losses(whole.points)
    assert run.tensors == whole.tensors


def losses(points: dict[tuple[str, int], float]) -> dict[tuple[str, int], float]:
    return {point: value for point, value in points.items() if point[0] in ("loss", "grad_norm")}
