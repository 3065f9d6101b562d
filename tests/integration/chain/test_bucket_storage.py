"""A run whose storage is a bucket: a real server that speaks S3, opened by a named secret."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from s3_server import S3Server

from orchestrator import contract

Make = Callable[..., Any]

PREFIX = "axo/runs of all"
PUBLISH = [{"mlflow": {"model": "bucket"}}]
TRAINING = yaml.safe_load("{learning_rate: 2e-3, sequence_len: 64, batch_size: 8, checkpoint_steps: 4}")


@pytest.fixture
def desk(make_desk: Make, object_storage: S3Server, bucket: str) -> Any:
    """A desk whose runs live in a bucket, which nothing but its secret `desk` opens."""
    made = make_desk("bucket")
    secret = made.home / "secrets/desk"
    secret.mkdir(parents=True, mode=0o700)
    for key, value in object_storage.environment().items():
        (secret / key).write_text(value)
    environment = {key: value for key, value in made.environment.items() if not key.startswith("AWS_")}
    environment["AXO_STORAGE"] = f"s3://desk@{bucket}/{PREFIX}"
    return dataclasses.replace(made, environment=environment)


def test_killed_in_a_commit_and_paused_it_ends_as_in_a_folder(
    desk: Any, make_desk: Make, object_storage: S3Server, bucket: str
) -> None:
    """The server stands still while a checkpoint is on its way, and the trainer is killed just then."""
    beside = make_desk("folder")
    evaluate = {"metrics": ["exact_match"], "rows": 8}
    desk.write_spec(name="bucket", training=TRAINING, publish=PUBLISH, evaluate=evaluate)
    beside.write_spec(name="bucket", training=TRAINING, publish=PUBLISH)
    undisturbed = beside.start("run", "spec.yaml")
    axo = desk.start("run", "spec.yaml")
    top = object_storage.folder / bucket / PREFIX / "runs"
    half, run = _wait_for(lambda: _frozen_in_a_commit(object_storage.process, top))
    pid = int((desk.home / f"local/{run}-2.pid").read_text())
    os.killpg(pid, signal.SIGKILL)
    os.kill(object_storage.process, signal.SIGCONT)
    store = contract.open_store(f"s3://{bucket}/{PREFIX}/runs/{run}")
    _wait_for(lambda: contract.checkpoint_steps(store)[0] > half + 4)
    desk.axo("pause", run)
    axo.wait(60)
    ended = desk.run()
    assert (ended["id"], ended["status"]) == (run, "succeeded")
    logs = desk.axo("logs", run)
    assert f"Checkpoint {half} is not whole and is passed over" in logs
    assert logs.count("going on from step") == 2

    assert undisturbed.wait(300) == 0, (beside.folder / "stderr.txt").read_text()
    other = contract.open_store(str(beside.home / "storage/runs" / beside.run()["id"]))
    manifests = [contract.read_manifest(each, contract.ADAPTER) for each in (store, other)]
    assert manifests[0]
    assert manifests[0].files == manifests[1].files
    assert not contract.verify_folder(store, contract.ADAPTER)
    assert not (desk.home / "storage").exists()
    assert json.loads(desk.axo("verify", run, "-o", "json"))
    desk.axo("pull", run, "pulled")
    for file in manifests[0].files:
        assert contract.hash_file(desk.folder / "pulled" / file.path, file.path) == file
    tried = json.loads(desk.axo("try", run, "--held-out", "24", "--max-tokens", "64", "-o", "json"))
    asked = {each["prompt"]: each for each in tried}
    samples = json.loads(desk.axo("describe", run, "-o", "json"))["evaluation"]["samples"]
    assert len(samples) == 8
    for sample in samples:
        one = asked[sample["prompt"]]
        assert (one["expected"], one["base"]["text"][:300]) == (sample["expected"], sample["base"])
        assert one["adapter"]["text"][:300] == sample["adapter"]
    hidden = object_storage.environment()["AWS_SECRET_ACCESS_KEY"].encode()
    for file in (*desk.home.rglob("*.log"), *desk.home.glob("axo.db*"), *top.rglob("*.txt")):
        assert hidden not in file.read_bytes()


def _frozen_in_a_commit(server: int, runs: Path) -> tuple[int, str] | None:
    """The step of a checkpoint on its way, and its run; the server stands still as soon as there is one."""
    os.kill(server, signal.SIGSTOP)
    steps = {int(folder.name.split("-")[1]): folder for folder in runs.glob("*/checkpoints/checkpoint-*")}
    newest = max(steps, default=0)
    if newest > 4 and not (steps[newest] / contract.MANIFEST).exists():
        return newest, steps[newest].parents[1].name
    os.kill(server, signal.SIGCONT)
    return None


def _wait_for(found: Callable[[], Any], seconds: float = 400) -> Any:
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end
        time.sleep(0.005)
    return value
