"""Base models: all faults of a folder at once, a digest of what is staged, the hub's errors in words."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
import toy_models

from orchestrator.contract import FileStore, model_key, read_manifest, verify_folder
from orchestrator.errors import SpecError
from orchestrator.staging import ResolvedModel, resolve_model, stage_model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = toy_models.MODELS["chatml"].write(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


def whats(folder: Path, reference: str = "model") -> list[str]:
    with pytest.raises(SpecError) as caught:
        resolve_model(reference, folder)
    assert {fault.path for fault in caught.value.faults} == {"base_model"}
    assert all(fault.fix for fault in caught.value.faults)
    return [fault.what for fault in caught.value.faults]


def test_a_folder_is_staged_under_the_digest_of_its_files(tmp_path: Path, model: Path) -> None:
    for name in ("pytorch_model.bin", "training_args.bin", "tekken.json", "modeling_own.py", ".hidden.json"):
        (model / name).write_text("{}")
    (model / "original").mkdir()
    (model / "original" / "params.json").write_text("{}")
    store = FileStore(tmp_path / "storage")
    digest = stage_model(store, resolve_model("model", tmp_path))
    manifest = read_manifest(store, model_key(digest))
    assert manifest is not None
    assert (manifest.kind, manifest.digest, manifest.facts["reference"]) == ("model", digest, "model")
    assert verify_folder(store, model_key(digest)) == []
    expected = {
        "chat_template.jinja",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert {file.path for file in manifest.files} == expected


def test_staging_again_copies_nothing(tmp_path: Path, model: Path) -> None:
    store = FileStore(tmp_path / "storage")
    digest = stage_model(store, resolve_model("model", tmp_path))
    staged = store.local(f"{model_key(digest)}/model.safetensors")
    assert staged is not None
    before = staged.stat()
    assert stage_model(store, resolve_model(str(model), tmp_path)) == digest
    assert staged.stat().st_ino == before.st_ino
    assert staged.stat().st_mtime_ns == before.st_mtime_ns


def test_a_changed_file_gives_another_digest(tmp_path: Path, model: Path) -> None:
    store = FileStore(tmp_path / "storage")
    first = stage_model(store, resolve_model("model", tmp_path))
    weights = model / "model.safetensors"
    weights.write_bytes(b"WEIGHTS")
    os.utime(weights, ns=(1, 1))
    second = stage_model(store, resolve_model("model", tmp_path))
    assert second != first
    manifest = read_manifest(store, model_key(second))
    assert manifest is not None
    assert {f.path: f.sha256 for f in manifest.files}["model.safetensors"] == hashlib.sha256(
        b"WEIGHTS"
    ).hexdigest()


def test_a_half_staged_model_is_staged_whole(tmp_path: Path, model: Path) -> None:
    store = FileStore(tmp_path / "storage")
    digest = stage_model(store, resolve_model("model", tmp_path))
    store.delete(f"{model_key(digest)}/MANIFEST.json")
    store.delete(f"{model_key(digest)}/config.json")
    assert stage_model(store, resolve_model("model", tmp_path)) == digest
    assert verify_folder(store, model_key(digest)) == []


def test_every_fault_of_a_folder_comes_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    assert whats(tmp_path) == [
        "the model has no config.json",
        "the model has no tokenizer.json",
        "the model has pickled weights only",
        "the model has no chat template",
    ]


def test_shards_that_are_missing(tmp_path: Path, model: Path) -> None:
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (model / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    (model / shards["a"]).write_bytes(b"x")
    assert whats(tmp_path) == ["weights are missing: model-00002-of-00002.safetensors"]


def test_a_config_that_is_no_json(tmp_path: Path, model: Path) -> None:
    (model / "config.json").write_text("{")
    assert whats(tmp_path) == ["the model's config.json is no JSON object"]


def test_files_that_hold_what_they_never_should(tmp_path: Path, model: Path) -> None:
    (model / "model.safetensors.index.json").write_text('{"weight_map": {"a": ["b"]}}')
    assert whats(tmp_path) == ["weights are missing: ['b']"]
    (model / "tokenizer_config.json").write_text("[" * 200_000)
    (model / "config.json").write_text('{"text_config": "x", "max_position_embeddings": 8}')
    assert "the model's tokenizer_config.json is no JSON object" in whats(tmp_path)
    assert ResolvedModel("model", model).positions == 8


def test_no_such_folder(tmp_path: Path) -> None:
    assert whats(tmp_path, "./nowhere") == ["there is no such model folder"]
    assert whats(tmp_path, "../a/b/c") == ["there is no such model folder"]


def test_the_hub_out_of_reach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert whats(tmp_path, "nobody/nothing@main") == [
        "there is no such folder, and the hub cannot be reached"
    ]


def test_a_model_of_the_hub_s_cache_has_its_commit(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier download left is found without a network."""
    from huggingface_hub import constants

    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "cache" / "models--some--model"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "v1").write_text(commit)
    (cached / "snapshots").mkdir()
    model.rename(cached / "snapshots" / commit)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    found = resolve_model("some/model@v1", tmp_path)
    assert found.revision == commit
    assert "model.safetensors" in found.files
