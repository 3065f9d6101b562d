"""Two ranks share a stream: each reads all of it and trains on packs in turn, as one process would on all."""

from __future__ import annotations

import os

import pytest
from test_ranks import assert_near
from training_lab import STREAMED, Lab

from orchestrator.contract import ExitCode

PAIR = {**STREAMED, "lora_dropout": 0.0, "max_steps": 10}  # each rank draws its own dropout
ALONE = {**PAIR, "gradient_accumulation_steps": 4}


@pytest.mark.skipif(os.environ.get("AXO_PROVE") != "1", reason="a long proof: scripts/prove trainer")
def test_two_ranks_train_on_a_stream_as_one_process_also_over_a_stop(lab: Lab) -> None:
    alone = lab.run("stream-alone", ALONE)
    assert alone.finish() == 0, alone.log()[-3000:]
    assert alone.outcome().facts["epoch"] > 1
    pair = lab.run("stream-pair", PAIR, devices=2)
    assert pair.interrupt(8) == ExitCode.INTERRUPTED, pair.log()[-3000:]
    assert pair.finish() == 0, pair.log(2)[-3000:]
    assert pair.outcome().facts["resumed_from"] == pair.outcome(1).step
    assert_near(pair, alone)


@pytest.mark.skipif(os.environ.get("AXO_PROVE") != "1", reason="a long proof: scripts/prove trainer")
def test_a_stop_of_two_ranks_changes_nothing_where_each_draws_its_dropout(lab: Lab) -> None:
    settings = {**STREAMED, "max_steps": 10}
    whole = lab.run("stream-pair-whole", settings, devices=2)
    assert whole.finish() == 0, whole.log()[-3000:]
    run = lab.run("stream-pair-stopped", settings, devices=2)
    assert run.interrupt(4) == ExitCode.INTERRUPTED, run.log()[-3000:]
    assert run.finish() == 0, run.log(2)[-3000:]
    assert run.tensors == whole.tensors
