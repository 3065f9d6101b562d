"""How many parameters a config trains: counted from the shapes of the model's weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.estimate.model import Model
from orchestrator.estimate.safetensors import Tensor

_EMBEDDINGS = ("embed_tokens", "embed_in", "wte", "wpe", "word_embeddings", "embed_positions")
_OUTPUTS = ("lm_head", "embed_out")


def adapted(model: Model, keys: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights that an Axolotl config gives low-rank matrices; none for full fine-tuning.

    `lora_target_linear` takes every linear layer but the output layer (Axolotl's
    `find_all_linear_names`), `lora_target_modules` those whose name ends in one of the given (peft).
    """
    if not keys.get("adapter"):
        return {}
    named = keys.get("lora_target_modules") or []
    return {
        name: tensor
        for name, tensor in _matrices(model)
        if (keys.get("lora_target_linear") and _is_linear(name)) or _is_named(name, named)
    }


def trainable_parameters(model: Model, keys: Mapping[str, Any]) -> int:
    """Parameters with a gradient. A low-rank pair for a weight of `out x in` has r x (in + out):
    Hu et al. 2021, LoRA, section 4.1. Modules to save are trained whole, as copies."""
    if not keys.get("adapter"):
        return model.parameters
    rank = int(keys.get("lora_r") or 8)
    pairs = sum(rank * (tensor.shape[0] + tensor.shape[1]) for tensor in adapted(model, keys).values())
    return pairs + sum(tensor.size for tensor in saved_whole(model, keys).values())


def saved_whole(model: Model, keys: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights under `lora_modules_to_save`."""
    named = keys.get("lora_modules_to_save") or []
    return {
        name: tensor
        for name, tensor in model.tensors.items()
        if keys.get("adapter") and _is_named(name, named)
    }


def _matrices(model: Model) -> Iterator[tuple[str, Tensor]]:
    """Weights of modules that peft can adapt; experts are one tensor for all once loaded, and no module."""
    experts = any(".experts." in name for name in model.tensors)
    for name, tensor in model.tensors.items():
        router = experts and name.endswith((".gate.weight", ".router.weight"))
        if name.endswith(".weight") and len(tensor.shape) == 2 and ".experts." not in name and not router:
            yield name, tensor


def _is_linear(name: str) -> bool:
    return _module(name) not in (*_EMBEDDINGS, *_OUTPUTS)


def _is_named(name: str, named: Sequence[str]) -> bool:
    path = name.rpartition(".")[0]
    return any(path == target or path.endswith(f".{target}") for target in named)


def _module(name: str) -> str:
    return name.split(".")[-2]
