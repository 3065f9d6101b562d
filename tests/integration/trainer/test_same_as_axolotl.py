"""A run through the trainer is the run Axolotl does by itself, and a stop changes nothing in it."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from training_lab import EARLY, LORA, PACKED, Lab, Run

from orchestrator.contract import Cause, ExitCode, Result

FULL: dict[str, Any] = {"learning_rate": 0.0005}
KINDS = {"lora": LORA, "packed": PACKED, "full": FULL, "early": EARLY}
# Clock readings, and the step, which the record keeps beside its values.
UNLIKE = {
    "step",
    "step_seconds",
    "tokens_per_second",
    "tokens/train_per_sec_per_gpu",
    "eval_runtime",
    "eval_samples_per_second",
    "eval_steps_per_second",
}


@pytest.fixture(scope="session")
def undisturbed(lab: Lab) -> Callable[[str], Run]:
    """One uninterrupted run of each kind, made when first asked for."""
    runs: dict[str, Run] = {}

    def run(kind: str) -> Run:
        if kind not in runs:
            runs[kind] = lab.run(f"undisturbed-{kind}", KINDS[kind])
            assert runs[kind].finish() == 0, runs[kind].log()[-3000:]
        return runs[kind]

    return run


def alike(points: dict[tuple[str, int], float]) -> dict[tuple[str, int], float]:
    return {point: value for point, value in points.items() if point[0] not in UNLIKE}


@pytest.mark.parametrize("kind", KINDS)
def test_every_point_and_tensor_is_that_of_bare_axolotl(
    lab: Lab, undisturbed: Callable[[str], Run], kind: str
) -> None:
    # Full fine-tuning of unpacked data draws nothing before the trainer seeds: compare without a plugin.
    with ThreadPoolExecutor() as pool:
        ours = pool.submit(undisturbed, kind)
        bare = lab.baseline(kind, KINDS[kind], seeded=kind != "full")
        run = ours.result()

    assert run.tensors == bare.tensors
    assert alike(run.points) == alike(bare.points)
    assert len([point for point in run.points if point[0] == "loss"]) == run.outcome().step


@pytest.mark.parametrize("kind", ["lora", "packed", "early"])
def test_stops_at_random_steps_change_nothing(
    lab: Lab, undisturbed: Callable[[str], Run], kind: str, rounds: int
) -> None:
    whole = undisturbed(kind)
    last = whole.outcome().step or 0
    # By the second epoch on, so that packing has drawn another order than it began with.
    steps = random.Random(f"{kind} {rounds}").sample(range(last // 3 + 1, last - 3), rounds)
    for number, step in enumerate(sorted(steps), 1):
        run = lab.run(f"stopped-{kind}-{number}-of-{rounds}", KINDS[kind])
        assert run.interrupt(step) == ExitCode.INTERRUPTED, run.log()[-3000:]
        stop = run.outcome()
        assert (stop.result, stop.cause) == (Result.INTERRUPTED, Cause.STOPPED)
        assert stop.step is not None
        assert step <= stop.step < last
        assert stop.facts["lost_steps"] == 0
        assert not run.adapter.exists()

        assert run.finish() == 0, run.log(2)[-3000:]
        assert run.outcome().facts["resumed_from"] == stop.step
        assert_same(run, whole)


def test_stop_during_an_evaluation_and_stop_after_the_last_step(
    lab: Lab, undisturbed: Callable[[str], Run]
) -> None:
    whole = undisturbed("early")
    run = lab.run("evaluating", EARLY)
    # The first evaluation is that of step 0, the third that of step 6.
    attempt = run.start()
    assert attempt.until("Running evaluation step", 3)
    attempt.process.terminate()
    assert attempt.wait() == ExitCode.INTERRUPTED, run.log()[-3000:]
    assert (run.outcome().step, run.outcome().facts["lost_steps"]) == (6, 0)
    assert ("eval_loss", 6) not in run.points

    last = run.folder / f"checkpoints/checkpoint-{whole.outcome().step}/MANIFEST.json"
    attempt = run.start()
    assert attempt.until_true(last.exists)
    attempt.process.terminate()
    assert attempt.wait() == ExitCode.INTERRUPTED
    assert not (run.adapter / "MANIFEST.json").exists()

    assert run.finish() == 0, run.log(3)[-3000:]
    finished = run.outcome()
    assert finished.facts["resumed_from"] == finished.step == whole.outcome().step
    assert not [record for record in run.records_of(3) if record.kind == "metrics"], "it trained on"
    assert_same(run, whole)


def assert_same(run: Run, whole: Run) -> None:
    assert run.tensors == whole.tensors
    assert alike(run.points) == alike(whole.points)
    # Not only the first: a step that was done twice must say the same twice.
    for record in run.records:
        if record.kind == "metrics":
            for key, value in record.values.items():
                assert key in UNLIKE or whole.points[key, record.step] == value, (key, record.step)
