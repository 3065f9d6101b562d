"""Two ranks on this machine's CPU train as one process does, stop together and fail with the true cause."""

from __future__ import annotations

import os
import signal
from array import array
from collections.abc import Mapping
from typing import Any

import pytest
from training_lab import EARLY, LORA, PACKED, Lab, Run

from orchestrator.contract import Cause, ExitCode, Result, checkpoint_steps

# 42 rows are 11 batches of at most 4: the last is half full, and one rank has none to match it.
PAIR: dict[str, Any] = {
    **LORA,
    "lora_dropout": 0.0,  # each rank draws its own
    "micro_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "num_epochs": 2,
    "test_datasets": EARLY["test_datasets"],
    "eval_batch_size": 3,  # 40 rows: uneven too
    "eval_steps": 3,
}
ALONE = {**PAIR, "gradient_accumulation_steps": 4}
# Checkpoints come from the clock, from evaluations that are the best so far, and from stops.
TIMED: dict[str, Any] = {**EARLY, "gradient_accumulation_steps": 2, "save_steps": 999, "learning_rate": 0.1}
SHARED = {
    "plugins": ["shards_on_cpu.Shards"],
    "fsdp_version": 2,
    "fsdp_config": {
        "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "reshard_after_forward": True,
        "state_dict_type": "FULL_STATE_DICT",
        "cpu_ram_efficient_loading": True,
        "offload_params": False,
    },
}
SHARDS_ON_CPU = """\
from accelerate.parallelism_config import ParallelismConfig
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from axolotl.integrations.base import BasePlugin

build = ParallelismConfig.build_device_mesh
PartialState._prepare_backend = lambda self, *_: ("gloo", DistributedType.MULTI_GPU)
ParallelismConfig.build_device_mesh = lambda self, _: build(self, "cpu")

class Shards(BasePlugin):
    pass
"""
CLOCK = {"devices": 2, "task": {"checkpoint_seconds": 0.1}}


def test_two_ranks_train_as_one_process(lab: Lab) -> None:
    alone = lab.run("alone", ALONE)
    pair = lab.run("pair", PAIR, devices=2)
    beside = alone.start()
    assert pair.finish() == 0, pair.log()[-3000:]
    assert beside.wait() == 0, alone.log()[-3000:]
    assert_near(pair, alone)
    assert pair.outcome().facts["devices"] == 2


def test_ranks_stop_together_and_lose_nothing_but_a_killed_one(lab: Lab) -> None:
    whole = lab.run("timed", TIMED, devices=2)
    assert whole.finish() == 0, whole.log()[-3000:]
    last = whole.outcome()
    assert last.facts["stopped_early"], eval_losses(whole)
    assert last.facts["best_step"] < (last.step or 0)

    run = lab.run("disturbed", TIMED, **CLOCK)
    assert run.interrupt(4) == ExitCode.INTERRUPTED, run.log()[-3000:]
    stop = run.outcome()
    assert (stop.result, stop.cause) == (Result.INTERRUPTED, Cause.STOPPED)
    assert stop.step is not None
    assert stop.facts["lost_steps"] == 0
    assert checkpoint_steps(run.store)[0] == stop.step

    attempt = run.start()
    assert attempt.until("'loss'", 3)
    os.kill(attempt.rank(1), signal.SIGKILL)
    assert attempt.wait() == ExitCode.CRASHED
    killed = run.outcome()
    assert (killed.result, killed.cause) == (Result.FAILED, Cause.KILLED)
    assert killed.message.startswith("Rank 1: ")
    assert killed.facts["resumed_from"] == stop.step
    assert not run.adapter.exists()

    assert run.finish() == 0, run.log(3)[-3000:]
    assert run.outcome().step == last.step
    assert run.outcome().facts["best_step"] == last.facts["best_step"]
    assert run.tensors == whole.tensors
    for (key, step), value in run.points.items():
        if key in ("loss", "eval_loss", "grad_norm"):
            assert value == whole.points[key, step], (key, step)


@pytest.mark.skipif(os.environ.get("AXO_PROVE") != "1", reason="a long proof: scripts/prove trainer")
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_model_shared_out_trains_as_a_whole_one(lab: Lab, kind: str) -> None:
    # accelerate shares models out over GPUs only, so it is told that these processes are some.
    (lab.packages / "shards_on_cpu.py").write_text(SHARDS_ON_CPU)
    settings = PAIR if kind == "lora" else {**PAIR, "adapter": None, "learning_rate": 0.0005}
    alone = lab.run(f"alone-{kind}", {**settings, "gradient_accumulation_steps": 4})
    assert alone.finish() == 0, alone.log()[-3000:]
    shared = lab.run(f"shared-{kind}", settings, SHARED, devices=2)
    assert shared.interrupt(3) == ExitCode.INTERRUPTED, shared.log()[-5000:]
    assert shared.finish() == 0, shared.log(2)[-5000:]
    assert shared.outcome().facts["resumed_from"] == shared.outcome(1).step
    assert_near(shared, alone)


@pytest.mark.skipif(os.environ.get("AXO_PROVE") != "1", reason="a long proof: scripts/prove trainer")
def test_packed_ranks_resume_exactly(lab: Lab) -> None:
    whole = lab.run("packed-pair", PACKED, devices=2)
    assert whole.finish() == 0, whole.log()[-3000:]
    run = lab.run("packed-pair-stopped", PACKED, devices=2)
    assert run.interrupt((whole.outcome().step or 0) // 2) == ExitCode.INTERRUPTED
    assert run.finish() == 0, run.log(2)[-3000:]
    assert run.tensors == whole.tensors


def eval_losses(run: Run) -> dict[int, float]:
    return {step: value for (key, step), value in run.points.items() if key == "eval_loss"}


def assert_near(run: Run, other: Run, tolerance: float = 1e-5) -> None:
    """Every loss and every number of every tensor: within the tolerance of the other's."""
    losses = {point: value for point, value in other.points.items() if point[0] in ("loss", "eval_loss")}
    assert losses
    for point, value in losses.items():
        assert run.points[point] == pytest.approx(value, rel=tolerance), point
    mine, theirs = numbers(run.tensors), numbers(other.tensors)
    assert mine.keys() == theirs.keys()
    for name, values in theirs.items():
        assert mine[name] == pytest.approx(values, abs=tolerance), name


def numbers(tensors: Mapping[str, bytes]) -> dict[str, list[float]]:
    """The numbers of float32 tensors."""
    found = {}
    for name, data in tensors.items():
        kind, _, rest = data.partition(b"]")
        assert kind.startswith(b"F32["), kind
        found[name] = list(array("f", rest))
    return found
