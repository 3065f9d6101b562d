"""The memory that training needs on one device, part by part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.estimate.activations import backward_bytes, layer_bytes, logits_bytes, stream_bytes
from orchestrator.estimate.model import Model
from orchestrator.estimate.safetensors import Tensor
from orchestrator.estimate.trainable import adapted, saved_whole, trainable_parameters
from orchestrator.estimate.workload import Workload
from orchestrator.machines import GIB

# NF4: half a byte, an 8-bit scale for 64 weights, a 32-bit one for 256 scales (Dettmers et al. 2023, QLoRA,
# section 3).
FOUR_BIT = 0.5 + 1 / 64 + 4 / (64 * 256)
# Bytes that an optimizer keeps for a trained parameter: two moments of its own size; these differ. 8-bit ones
# have a scale for 256; Adafactor's rows and columns weigh next to nothing.
_MOMENTS: Mapping[str, float] = {"adamw_8bit": 2.03, "paged_adamw_8bit": 2.03, "adafactor": 0.02}
# What the process holds before the first weight. CPU: Python, PyTorch, Axolotl and the tokens of the data, as
# `scripts/bench estimate` measures it. GPU: CUDA's context, its libraries' workspaces.
OVERHEAD: Mapping[str, float] = {"cpu": 1.07 * GIB, "gpu": 1.0 * GIB}
# What the allocator holds beyond what it gave out.
_FRAGMENTS: Mapping[str, float] = {"cpu": 0.03, "gpu": 0.05}
_EMBEDDINGS = ("embed_tokens", "lm_head", "embed_in", "embed_out", "wte", "word_embeddings")


@dataclass(frozen=True)
class Memory:
    """Bytes on one device at the busiest moment. `activations` is what that moment takes beyond the parts
    before it, logits included; `overhead` is the framework's own."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    overhead: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations + self.overhead

    def to_dict(self) -> dict[str, int]:
        return {**{name: round(value) for name, value in asdict(self).items()}, "total": round(self.total)}


def memory_of(model: Model, load: Workload, keys: Mapping[str, Any], device: str) -> Memory:
    """What training keeps on one device.

    Two moments can be the busiest: the loss, when all activations are there, and the end of the backward
    pass, when all gradients are. With accumulation the gradients of earlier micro batches are there at both.
    """
    weights, gradients, optimizer = _kept(model, load, keys)
    at_loss = _activations(model, load, keys)
    at_end = _largest_gradient(model, load, keys)
    if load.accumulation == 1 and not load.sharded and load.devices == 1:
        beyond = max(at_loss - gradients, at_end)
    else:
        beyond = max(at_loss, at_end)
    used = weights + gradients + optimizer + beyond
    return Memory(weights, gradients, optimizer, beyond, OVERHEAD[device] + _FRAGMENTS[device] * used)


def _kept(model: Model, load: Workload, keys: Mapping[str, Any]) -> tuple[float, float, float]:
    """Weights, gradients, optimizer state.

    Under DDP each gradient lies in a bucket too (`gradient_as_bucket_view` is off in accelerate). Under
    FSDP2 all three are shared out, trained weights are in single precision (accelerate's
    `fsdp2_prepare_model`), and two layers are whole at a time.
    """
    trained = trainable_parameters(model, keys)
    if load.adapter:
        base = sum(_base_bytes(name, t, model, load, keys) for name, t in model.tensors.items())
        weights, gradients = base + 4 * trained, 4.0 * trained
    elif load.sharded:
        weights = gradients = 4.0 * trained
    else:
        weights = gradients = sum(_trained_bytes(name, t, load) for name, t in model.tensors.items())
    moments = _MOMENTS.get(load.optimizer)
    optimizer = 2 * gradients if moments is None else moments * trained
    if load.sharded:
        whole = 2 * load.compute_bytes * model.parameters / (model.layers + 1)
        return weights / load.devices + whole, gradients / load.devices, optimizer / load.devices
    return weights, gradients * (2 if load.devices > 1 else 1), optimizer


def _base_bytes(name: str, tensor: Tensor, model: Model, load: Workload, keys: Mapping[str, Any]) -> float:
    """A frozen weight: in the precision of the matrix products, the layers' matrices in 4 bits for QLoRA."""
    if load.four_bit and len(tensor.shape) == 2 and not any(word in name for word in _EMBEDDINGS):
        return tensor.size * FOUR_BIT
    return tensor.size * load.compute_bytes


def _trained_bytes(name: str, tensor: Tensor, load: Workload) -> float:
    """A trained weight: embeddings and norms stay in single precision (Axolotl's
    `_configure_embedding_dtypes`), the rest is in that of the matrix products."""
    single = "norm" in name or any(word in name for word in _EMBEDDINGS)
    return tensor.size * (4 if single else load.compute_bytes)


def _activations(model: Model, load: Workload, keys: Mapping[str, Any]) -> float:
    layer = layer_bytes(model, load, keys)
    logits = logits_bytes(model, keys)
    if not load.checkpointing:
        return load.tokens * (model.layers * layer + logits)
    kept = model.layers * stream_bytes(model, load)
    return load.tokens * (kept + max(logits, layer + backward_bytes(model, load)))


def _largest_gradient(model: Model, load: Workload, keys: Mapping[str, Any]) -> float:
    """AdamW's step takes the update and the root of the largest trained weight aside."""
    rank = int(keys.get("lora_r") or 8)
    sizes = [rank * max(tensor.shape) for tensor in adapted(model, keys).values()]
    sizes += [tensor.size for tensor in saved_whole(model, keys).values()]
    if not load.adapter:
        sizes = [tensor.size for tensor in model.tensors.values()]
    return 2 * 4.0 * max(sizes, default=0) / (load.devices if load.sharded else 1)
