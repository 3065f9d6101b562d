"""Only weights, JSON, tokenizer and template leave as an adapter, under the base model's true name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.contract.adapter import gather_adapter


def test_gathers_what_is_allowed(tmp_path: Path) -> None:
    output = tmp_path / "output"
    (output / "checkpoint-5").mkdir(parents=True)
    allowed = [
        "adapter_model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
        "merges.txt",
        "spiece.model",
    ]
    refused = [
        "optimizer.pt",
        "training_args.bin",
        "README.md",
        "debug.log",
        "trainer_state.json",
        "x.pkl",
        "y.py",
    ]
    for name in [*allowed, *refused, "checkpoint-5/model.safetensors"]:
        (output / name).write_text(name)
    (output / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "model", "r": 8}))

    gather_adapter(output, tmp_path / "adapter", "acme/base@0123abc")

    names = sorted(path.name for path in (tmp_path / "adapter").rglob("*"))
    assert names == sorted([*allowed, "adapter_config.json"])
    config = json.loads((tmp_path / "adapter/adapter_config.json").read_text())
    assert config == {"base_model_name_or_path": "acme/base", "revision": "0123abc", "r": 8}
    untouched = json.loads((output / "adapter_config.json").read_text())
    assert untouched["base_model_name_or_path"] == "model"


def test_the_base_models_weights_stay_where_there_is_an_adapter(tmp_path: Path) -> None:
    output = tmp_path / "output"
    output.mkdir()
    for name in (
        "adapter_model.safetensors",
        "model-00001-of-00002.safetensors",
        "model.safetensors.index.json",
    ):
        (output / name).write_text(name)
    gather_adapter(output, tmp_path / "adapter", None)
    assert [path.name for path in (tmp_path / "adapter").iterdir()] == ["adapter_model.safetensors"]

    (output / "adapter_model.safetensors").unlink()
    gather_adapter(output, tmp_path / "full", None)
    assert len(list((tmp_path / "full").iterdir())) == 2


def test_no_weights_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "output/adapter_config.json").write_text("{}")
    with pytest.raises(FileNotFoundError):
        gather_adapter(tmp_path / "output", tmp_path / "adapter", None)
