"""Runs whose storage is a bucket: a real server that speaks S3, opened by a named secret."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from s3_server import S3Server

from orchestrator import contract

Make = Callable[..., Any]


@pytest.fixture
def make_bucket_desk(make_desk: Make, object_storage: S3Server, bucket: str, monkeypatch: Any) -> Make:
    """A desk whose runs live in a bucket, which nothing but its secret `desk` opens."""

    def make(name: str) -> Any:
        desk = make_desk(name)
        secret = desk.home / "secrets/desk"
        secret.mkdir(parents=True, mode=0o700)
        for key, value in object_storage.environment().items():
            (secret / key).write_text(value)
        environment = {key: value for key, value in desk.environment.items() if not key.startswith("AWS_")}
        environment["AXO_STORAGE"] = f"s3://desk@{bucket}/axo/runs of all"
        return dataclasses.replace(desk, environment=environment)

    return make


def test_a_run_lives_in_a_bucket_from_data_to_pull(
    make_bucket_desk: Make, make_desk: Make, bucket: str
) -> None:
    desk, beside = make_bucket_desk("bucket"), make_desk("folder")
    for each in (desk, beside):
        each.write_spec(name="desk", evaluate={"metrics": ["exact_match"], "rows": 8})
    run, same = desk.run(), beside.run()
    store = contract.open_store(f"s3://{bucket}/axo/runs of all/runs/{run['id']}")
    other = contract.open_store(str(beside.home / "storage/runs" / same["id"]))
    manifests = [contract.read_manifest(each, contract.ADAPTER) for each in (store, other)]
    assert manifests[0]
    assert manifests[0].files == manifests[1].files
    assert not contract.verify_folder(store, contract.ADAPTER)
    assert not (desk.home / "storage").exists()
    assert "going on" not in desk.axo("logs", run["id"])
    assert "starting from step 0" in desk.axo("logs", run["id"])
    assert json.loads(desk.axo("verify", run["id"], "-o", "json"))
    desk.axo("pull", run["id"], "pulled")
    for file in manifests[0].files:
        assert contract.hash_file(desk.folder / "pulled" / file.path, file.path) == file
