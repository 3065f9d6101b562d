from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.estimate.model import model_of, read_model
from orchestrator.estimate.safetensors import Tensor
from orchestrator.estimate.trainable import adapted, trainable_parameters

CONFIG = {
    "model_type": "llama",
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 16,
    "vocab_size": 32,
    "tie_word_embeddings": True,
    "dtype": "bfloat16",
}
ATTENTION = 8 * 8 + 2 * 4 * 8 + 8 * 8
LAYER = ATTENTION + 3 * 8 * 16 + 2 * 8


def write_model(folder: Path, tensors: dict[str, tuple[str, list[int]]], config: dict[str, object]) -> None:
    """A model folder whose weights are a hole in its file: nothing but the header may be read."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + Tensor(tuple(shape), dtype).bytes
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    (folder / "config.json").write_text(json.dumps(config))


def test_a_config_alone_gives_the_shapes_by_arithmetic(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    model = read_model(tmp_path)
    assert model is not None
    assert not model.exact
    assert model.parameters == 32 * 8 + 2 * LAYER + 8
    assert model.bytes == 2 * model.parameters
    assert (model.layers, model.kv_heads, model.head_dim, model.tied) == (2, 1, 4, True)


def test_headers_give_shapes_and_dtypes_exactly(tmp_path: Path) -> None:
    write_model(
        tmp_path, {"model.embed_tokens.weight": ("BF16", [32, 8]), "lm_head.weight": ("F32", [32, 8])}, CONFIG
    )
    model = read_model(tmp_path)
    assert model is not None
    assert model.exact
    assert (model.parameters, model.bytes, model.tied) == (512, 256 * 2 + 256 * 4, False)


@pytest.mark.parametrize("left", [4, 40, -1])
def test_weights_cut_short_are_told_with_their_file(tmp_path: Path, left: int) -> None:
    write_model(tmp_path, {"model.embed_tokens.weight": ("BF16", [32, 8])}, CONFIG)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(SpecError, match=r"weights are not whole.*model\.safetensors"):
        read_model(tmp_path)


def test_packed_weights_are_counted_as_what_they_stand_for(tmp_path: Path) -> None:
    quantized = {**CONFIG, "quantization_config": {"quant_method": "bitsandbytes"}}
    write_model(tmp_path, {"model.layers.0.mlp.up_proj.weight": ("U8", [64, 1])}, quantized)
    model = read_model(tmp_path)
    assert model is not None
    assert model.parameters == 32 * 8 + 2 * LAYER + 8


def test_an_unknown_kind_without_weights_is_not_guessed_at() -> None:
    assert model_of({**CONFIG, "model_type": "mamba"}, {}) is None
    assert model_of({"model_type": "llama"}, {}) is None


@pytest.mark.parametrize(
    "text", ["[]", "null", "{", "[" * 200_000, json.dumps({**CONFIG, "num_hidden_layers": 10**9})]
)
def test_a_config_that_is_none_or_without_end_is_no_model(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert read_model(tmp_path) is None


def test_low_rank_pairs_are_counted_from_the_shapes() -> None:
    model = model_of(CONFIG, {})
    assert model is not None
    named = {"adapter": "lora", "lora_r": 4, "lora_target_modules": ["q_proj", "self_attn.v_proj"]}
    assert trainable_parameters(model, named) == 2 * (4 * (8 + 8) + 4 * (8 + 4))
    assert len(adapted(model, {"adapter": "lora", "lora_target_linear": True})) == 2 * 7
    saved = {**named, "lora_modules_to_save": ["embed_tokens"]}
    assert trainable_parameters(model, saved) == trainable_parameters(model, named) + 32 * 8
    assert trainable_parameters(model, {}) == model.parameters


def test_experts_are_no_linear_layers_and_a_token_visits_few_of_them() -> None:
    config = {**CONFIG, "model_type": "qwen3_moe", "moe_intermediate_size": 6, "num_experts_per_tok": 2}
    at = "model.layers.0.mlp"
    shapes = {f"{at}.experts.{n}.up_proj.weight": ("BF16", [6, 8]) for n in range(4)}
    shapes |= {f"{at}.gate.weight": ("BF16", [4, 8]), "model.embed_tokens.weight": ("BF16", [32, 8])}
    model = model_of(config, {name: Tensor(tuple(s), d) for name, (d, s) in shapes.items()})
    assert model is not None
    assert model.intermediate == 12
    assert not adapted(model, {"adapter": "lora", "lora_target_linear": True})
    assert model.active == model.parameters - 4 * 48 + 3 * 8 * 12 * 2
