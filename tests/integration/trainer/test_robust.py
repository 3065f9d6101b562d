"""Kills, broken checkpoints, rival attempts and partial runs: nothing false is ever committed."""

from __future__ import annotations

import json
import time

from training_lab import LORA, Lab, tensors

from orchestrator.contract import (
    DISCARD,
    Cause,
    ExitCode,
    Result,
    checkpoint_steps,
    claim_attempt,
    read_manifest,
    verify_folder,
)
from orchestrator.contract.adapter import may_leave
from orchestrator.controller.keep import keep_of
from orchestrator.runs import Keep


def test_killed_group_loses_one_interval_and_broken_checkpoints_are_passed_over(lab: Lab) -> None:
    whole = lab.run("never-killed", LORA)
    whole_attempt = whole.start()
    run = lab.run("killed", LORA)
    attempt = run.start()
    assert attempt.until("'loss'", 12)
    attempt.kill_group()
    assert whole_attempt.wait() == 0

    assert not (run.folder / "attempts/1/outcome.json").exists()
    newest = checkpoint_steps(run.store)[0]
    assert newest == 10
    assert read_manifest(run.store, "checkpoints/checkpoint-10") is not None

    # One that lost half a file, and one whose writer died before the manifest.
    weights = run.folder / "checkpoints/checkpoint-10/optimizer.pt"
    weights.write_bytes(weights.read_bytes()[:1000])
    half = run.folder / "checkpoints/checkpoint-12"
    half.mkdir()
    (half / "trainer_state.json").write_text(json.dumps({"global_step": 12}))

    assert run.finish() == 0, run.log(2)[-3000:]
    assert run.outcome().facts["resumed_from"] == 5
    assert "Checkpoint 12 is not whole" in run.log(2)
    assert "Checkpoint 10 is not whole" in run.log(2)
    assert run.tensors == whole.tensors
    assert 12 not in checkpoint_steps(run.store)

    before = (run.adapter / "MANIFEST.json").stat().st_mtime_ns
    began = time.monotonic()
    assert run.finish() == 0
    assert time.monotonic() - began < 5, "a whole adapter is an immediate success"
    assert run.outcome().facts["trained_before"]
    assert (run.adapter / "MANIFEST.json").stat().st_mtime_ns == before


def test_stop_before_the_first_step_leaves_at_once(lab: Lab) -> None:
    run = lab.run("early-stop", LORA)
    attempt = run.start()
    assert attempt.until("Attempting to load plugin")  # the child has read its config and loads data next
    began = time.monotonic()
    attempt.process.terminate()
    assert attempt.wait() == ExitCode.INTERRUPTED
    assert time.monotonic() - began < 10
    outcome = run.outcome()
    assert (outcome.result, outcome.cause, outcome.step) == (Result.INTERRUPTED, Cause.STOPPED, None)
    assert not checkpoint_steps(run.store)
    assert not list(lab.scratch.iterdir())


def test_a_cancelled_run_leaves_the_adapter_of_its_last_checkpoint(lab: Lab) -> None:
    run = lab.run("kept", LORA)
    attempt = run.start()
    assert attempt.until("'loss'", 6)
    attempt.process.terminate()
    assert attempt.wait() == ExitCode.INTERRUPTED
    step = checkpoint_steps(run.store)[0]
    told = keep_of(run.store, Keep.LAST, "acme/base", 16)
    assert f"The adapter of step {step}, its last checkpoint" in told
    manifest = read_manifest(run.store, "adapter")
    assert manifest is not None
    assert (manifest.step, manifest.facts["kept"]) == (step, "last")
    assert not verify_folder(run.store, "adapter")
    assert run.tensors == tensors(run.folder / f"checkpoints/checkpoint-{step}")
    names = {file.path for file in manifest.files}
    assert names >= {"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"}
    assert not [name for name in names if not may_leave(name)]
    assert (
        json.loads((run.adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
        == "acme/base"
    )


def test_a_run_of_which_nothing_is_to_be_kept_leaves_at_once(lab: Lab) -> None:
    run = lab.run("discarded", LORA)
    attempt = run.start()
    assert attempt.until("'loss'", 2)
    run.store.write(DISCARD, b"")
    attempt.process.terminate()
    assert attempt.wait() == ExitCode.INTERRUPTED
    assert run.outcome().message == "Stopped at once: nothing of it is to be kept."
    assert checkpoint_steps(run.store) == []


def test_a_rival_attempt_fences_the_older_one(lab: Lab) -> None:
    run = lab.run("fenced", LORA, {"num_epochs": 30})
    attempt = run.start()
    assert attempt.until("'loss'", 6)
    claim_attempt(run.store, 1, host="elsewhere", pid=1, now=0.0)
    committed = checkpoint_steps(run.store)
    assert attempt.wait() == ExitCode.INTERRUPTED
    assert run.outcome(1).cause is Cause.FENCED
    assert checkpoint_steps(run.store) == committed
    assert not run.adapter.exists()


def test_a_run_that_axolotl_cuts_short_is_no_success(lab: Lab) -> None:
    # Axolotl stops here with a warning, saves a half-trained adapter and exits with 0.
    run = lab.run("cut-short", LORA, {"loss_watchdog_threshold": 0.1, "loss_watchdog_patience": 2})
    assert run.finish() == ExitCode.CRASHED, run.log()[-3000:]
    outcome = run.outcome()
    assert (outcome.result, outcome.cause) == (Result.FAILED, Cause.CRASHED)
    assert outcome.step is not None
    assert outcome.total_steps is not None
    assert outcome.step < outcome.total_steps
    assert not run.adapter.exists()


def test_a_plan_for_a_gpu_that_is_not_there_says_so(lab: Lab) -> None:
    run = lab.run("no-gpu", LORA, device="gpu")
    assert run.start(CUDA_VISIBLE_DEVICES="").wait() == ExitCode.CONFIG, run.log()[-3000:]
    assert "PyTorch sees none here" in run.outcome().message


def test_a_dataset_that_leaves_nothing_to_train_on_is_a_data_failure(lab: Lab) -> None:
    run = lab.run("too-long", LORA, {"sequence_len": 4, "excess_length_strategy": "drop"})
    assert run.finish() == ExitCode.DATA, run.log()[-3000:]
    assert run.outcome().cause is Cause.DATA


def test_a_value_that_axolotl_refuses_is_a_config_failure(lab: Lab) -> None:
    run = lab.run("refused", LORA, {"optimizer": "no-such-optimizer"})
    assert run.finish() == ExitCode.CONFIG, run.log()[-3000:]
    assert run.outcome().cause is Cause.CONFIG
    assert "optimizer" in run.outcome().message
