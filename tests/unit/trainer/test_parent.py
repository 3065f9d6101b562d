"""The parent program by itself, without Axolotl: what it refuses, and what it need not start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.contract import (
    Cause,
    ExitCode,
    FileStore,
    LaunchPlan,
    Manifest,
    Outcome,
    Result,
    commit_folder,
    read_outcome,
)
from orchestrator.contract.program import scratch_folder
from orchestrator.trainer.train import merged_config
from orchestrator.trainer.work import child_environment, lay_out, overlay

ROOT = Path(__file__).parents[3]


@pytest.fixture
def storage(tmp_path: Path) -> FileStore:
    store = FileStore(tmp_path / "storage")
    for kind in ("model", "dataset"):
        folder = tmp_path / kind
        folder.mkdir()
        (folder / "file").write_text(kind)
        commit_folder(store, folder, f"{kind}s/one", Manifest(kind, ()))
    return store


def write_plan(storage: FileStore, **changes: Any) -> Path:
    settings = {"step": "train", "model": "models/one", "dataset": "datasets/one", **changes}
    plan = LaunchPlan(run="r", launch=1, **settings)
    storage.write("runs/r/launches/1/plan.json", plan.to_json())
    storage.write("runs/r/launches/1/axolotl.yaml", b"base_model: model\n")
    return storage.root / "runs/r"


def execute(run: Path) -> int:
    environment = {**os.environ, "AXO_SCRATCH": str(run.parent.parent.parent / "scratch")}
    command = [sys.executable, "-m", "orchestrator.trainer", str(run), "1"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True).returncode


def outcome(run: Path, attempt: int = 1) -> Outcome:
    said = read_outcome(FileStore(run), attempt)
    assert said is not None
    return said


def test_a_launch_without_a_plan_is_refused(tmp_path: Path) -> None:
    assert execute(tmp_path / "storage/runs/r") == ExitCode.CONFIG


def test_a_missing_dataset_is_a_config_failure(storage: FileStore) -> None:
    run = write_plan(storage, dataset="datasets/other")
    assert execute(run) == ExitCode.CONFIG
    assert outcome(run).cause is Cause.CONFIG
    assert "datasets/other" in outcome(run).message


def test_a_model_file_of_another_size_is_a_config_failure(storage: FileStore) -> None:
    (storage.root / "models/one/file").write_text("half")
    run = write_plan(storage)
    assert execute(run) == ExitCode.CONFIG
    assert "models/one/file" in outcome(run).message


def test_an_earlier_adapter_is_laid_out_only_when_every_byte_of_it_is_true(
    storage: FileStore, tmp_path: Path
) -> None:
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    (earlier / "adapter_model.safetensors").write_bytes(b"weights")
    commit_folder(storage, earlier, "runs/first/adapter", Manifest("adapter", ()))
    plan = LaunchPlan("r", 1, "train", adapter="runs/first/adapter")
    folder = tmp_path / "one" / "work"
    lay_out(storage, storage.below("runs/r"), plan, folder)
    assert (folder / "adapter-in" / "adapter_model.safetensors").read_bytes() == b"weights"

    (storage.root / "runs/first/adapter/adapter_model.safetensors").write_bytes(b"weightz")
    run = write_plan(storage, adapter="runs/first/adapter")
    assert execute(run) == ExitCode.CONFIG
    assert "runs/first/adapter" in outcome(run).message


def test_a_step_it_does_not_run_is_refused(storage: FileStore) -> None:
    run = write_plan(storage, step="prepare")
    assert execute(run) == ExitCode.CONFIG


def test_a_whole_adapter_is_success_at_once(storage: FileStore, tmp_path: Path) -> None:
    run = write_plan(storage)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_model.safetensors").write_bytes(b"weights")
    commit_folder(FileStore(run), adapter, "adapter", Manifest("adapter", (), step=7, attempt=1))
    assert execute(run) == ExitCode.SUCCESS
    assert (outcome(run).result, outcome(run).step) == (Result.SUCCESS, 7)

    (run / "adapter/adapter_model.safetensors").write_bytes(b"weightz")
    assert execute(run) != ExitCode.SUCCESS, "this adapter is not whole"


def test_a_child_without_axolotl_crashes_with_its_reason_and_leaves_nothing_behind(
    storage: FileStore, tmp_path: Path
) -> None:
    run = write_plan(storage)
    assert execute(run) == ExitCode.CRASHED
    assert "axolotl" in outcome(run).message
    assert list((tmp_path / "scratch").iterdir()) == []
    assert b"ModuleNotFoundError" in (run / "attempts/1/log-00000.txt").read_bytes()
    assert json.loads((run / "attempts/1/overlay.yaml").read_text())["plugins"]


def test_each_start_claims_an_attempt_of_its_own(storage: FileStore) -> None:
    run = write_plan(storage, dataset="datasets/other")
    execute(run)
    execute(run)
    assert outcome(run, 2).attempt == 2


def test_the_overlay_adds_plugins_and_names_the_checkpoint() -> None:
    config = {"plugins": ["axolotl.integrations.liger.LigerPlugin"], "seed": 1}
    merged = merged_config(config, json.loads(overlay(20)))
    assert merged == {
        "plugins": ["axolotl.integrations.liger.LigerPlugin", "orchestrator.trainer.plugin.ServicePlugin"],
        "seed": 1,
        "resume_from_checkpoint": "output/checkpoint-20",
    }
    assert "resume_from_checkpoint" not in merged_config({}, json.loads(overlay(None)))


def test_the_child_is_offline_and_writes_into_the_scratch_folder(tmp_path: Path) -> None:
    given = {"OMP_NUM_THREADS": "3", "HF_HUB_OFFLINE": "0", "CUDA_VISIBLE_DEVICES": "2,3"}
    child = child_environment(tmp_path, "cpu", 1, given)
    assert (child["HF_HUB_OFFLINE"], child["AXOLOTL_DO_NOT_TRACK"], child["DO_NOT_TRACK"]) == ("1", "1", "1")
    assert (child["OMP_NUM_THREADS"], child["CUDA_VISIBLE_DEVICES"]) == ("3", "")
    assert child["HF_HOME"].startswith(str(tmp_path))
    assert "ACCELERATE_USE_CPU" not in child
    assert child_environment(tmp_path, "cpu", 2, given)["ACCELERATE_USE_CPU"] == "true"


def test_code_of_a_model_finds_no_credential_but_its_buckets_in_its_environment(tmp_path: Path) -> None:
    secret = ("HF_TOKEN", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_URI", "AXO_DATABASE", "WANDB_API_KEY")
    bucket = ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AXO_SECRETS")
    kept = ("AXO_REPORT_TOKEN", "TOKENIZERS_PARALLELISM", "PATH", "NCCL_SOCKET_IFNAME", "AWS_REGION")
    given = dict.fromkeys((*secret, *bucket, *kept), "x")
    child = child_environment(tmp_path, "cpu", 1, given, "file:///storage/runs/r")
    assert {name for name in given if name in child} == {*kept}
    child = child_environment(tmp_path, "cpu", 1, given, "s3://bucket/runs/r")
    assert {name for name in given if name in child} == {*bucket, *kept}


@pytest.mark.parametrize(
    ("devices", "given", "visible"), [(1, "2,3", "2"), (2, "2,3", "2,3"), (1, None, "0"), (3, None, "0,1,2")]
)
def test_as_many_devices_are_in_sight_as_there_are_ranks(
    tmp_path: Path, devices: int, given: str | None, visible: str
) -> None:
    environment = {"CUDA_VISIBLE_DEVICES": given} if given else {}
    child = child_environment(tmp_path, "gpu", devices, environment)
    assert child["CUDA_VISIBLE_DEVICES"] == visible


def test_temporary_files_stay_in_the_scratch_folder_where_a_socket_name_fits() -> None:
    assert child_environment(Path("/scratch/axo"), "cpu", 1, {})["TMPDIR"] == "/scratch/axo/tmp"
    assert child_environment(Path("/" + "x" * 80), "cpu", 1, {"TMPDIR": "/tmp"})["TMPDIR"] == "/tmp"


def test_a_dead_attempts_scratch_folder_is_removed_and_a_living_ones_is_not(tmp_path: Path) -> None:
    environment = {"AXO_SCRATCH": str(tmp_path)}
    with scratch_folder("r", 1, environment) as folder:
        dead = folder.with_name(folder.name + "0")
        dead.mkdir()
    with scratch_folder("other", 1, environment) as other, scratch_folder("r", 2, environment) as living:
        assert not dead.exists()
        with scratch_folder("r", 3, environment) as newer:
            assert other.exists()
            assert living.exists()
    assert not newer.exists()
    assert not living.exists()
