"""Shapes, parameters and trainable parameters against transformers' own classes and peft's own count."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestrator.estimate.model import model_of
from orchestrator.estimate.trainable import trainable_parameters

SUPPORT = Path(__file__).parents[1] / "support" / "peft_counts.py"
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 500,
    "pad_token_id": 0,
}
FEW_KEYS = {**SIZES, "num_key_value_heads": 2}
CONFIGS: dict[str, dict[str, Any]] = {
    **{
        kind: {"model_type": kind, **FEW_KEYS}
        for kind in ("llama", "mistral", "qwen2", "qwen3", "smollm3", "olmo2", "phi", "phi3")
    },
    **{kind: {"model_type": kind, **FEW_KEYS, "head_dim": 32} for kind in ("gemma", "gemma2", "gemma3_text")},
    "gpt_neox": {"model_type": "gpt_neox", **SIZES},
    "gpt_neox, tied": {"model_type": "gpt_neox", **SIZES, "tie_word_embeddings": True},
    "llama, biases": {"model_type": "llama", **SIZES, "attention_bias": True, "mlp_bias": True},
    "qwen3, tied": {"model_type": "qwen3", **FEW_KEYS, "tie_word_embeddings": True, "head_dim": 32},
}


@pytest.fixture(scope="module")
def counted(trainer_python: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("counts")
    (folder / "configs.json").write_text(json.dumps(CONFIGS))
    command = [trainer_python, str(SUPPORT), str(folder / "configs.json"), str(folder / "counts.json")]
    subprocess.run(command, check=True, capture_output=True)
    counts: dict[str, dict[str, Any]] = json.loads((folder / "counts.json").read_text())
    return counts


@pytest.mark.parametrize("name", CONFIGS)
def test_counts_equal_those_of_the_model_class_and_of_peft(
    name: str, counted: dict[str, dict[str, Any]]
) -> None:
    theirs = counted[name]
    model = model_of(theirs["config"], {})
    assert model is not None
    ours = {key.replace("embed_out.", "lm_head."): list(t.shape) for key, t in model.tensors.items()}
    assert ours == {key.replace("embed_out.", "lm_head."): shape for key, shape in theirs["shapes"].items()}
    assert model.parameters == theirs["parameters"]
    linear = {"adapter": "lora", "lora_r": 4, "lora_target_linear": True}
    assert trainable_parameters(model, linear) == theirs["lora"]
