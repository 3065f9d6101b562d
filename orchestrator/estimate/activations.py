"""What a training step keeps between forward and backward: activations of the layers, and the logits.

The sums follow Korthikanti et al. 2022 (Reducing Activation Recomputation in Large Transformer Models,
section 4), taken down to what the autograd of PyTorch 2.13 saves for the modules of transformers 5.16 and
the low-rank layers of peft 0.20, each for one token of one layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.estimate.model import Model
from orchestrator.estimate.trainable import adapted
from orchestrator.estimate.workload import Workload

_NORM_OUTPUTS_TOO = {"gemma2", "gemma3_text"}  # also norms on what attention and feed-forward give
_ONE_NORM = {"phi"}
_HEAD_NORMS = {"qwen3", "gemma3_text", "olmo2"}
_ONE_PROJECTION = {"gpt_neox"}
_LAYER_NORM = {"gpt2", "gpt_neox", "phi", "starcoder2"}
_FUSED_LOSS = ("cut_cross_entropy", "liger_fused_linear_cross_entropy", "chunked_cross_entropy")


def layer_bytes(model: Model, load: Workload, keys: Mapping[str, Any]) -> float:
    """Bytes that one layer keeps for one token."""
    return (
        _norms(model, load)
        + _attention(model, load)
        + _feed_forward(model, load)
        + _inputs(model, load, keys)
    )


def stream_bytes(model: Model, load: Workload) -> float:
    """Bytes of the residual stream for one token: all that gradient checkpointing keeps of a layer.

    Full fine-tuning keeps embeddings in single precision (Axolotl's `_configure_embedding_dtypes`), and
    with them everything that is added up.
    """
    return model.hidden * (load.compute_bytes if load.adapter or load.sharded else 4)


def logits_bytes(model: Model, keys: Mapping[str, Any]) -> float:
    """Bytes for one token at the start of the backward pass: vocabulary x 4 bytes x 3 copies.

    The loss is taken in single precision (transformers' `ForCausalLMLoss`): log-probabilities, their
    gradient, and the gradient of the logits; one more where they are soft-capped. Fused losses never
    hold them.
    """
    if any(keys.get(name) for name in _FUSED_LOSS):
        return 0
    return model.vocabulary * 4 * (4 if model.soft_capped else 3)


def backward_bytes(model: Model, load: Workload) -> float:
    """Gradients of activations alive at once while the backward pass is inside a layer, for one token."""
    widest = (2 if model.gated else 1) * model.intermediate
    return load.compute_bytes * (widest + model.hidden)


def _norms(model: Model, load: Workload) -> float:
    """RMS norms keep their input in single precision, and what they normalised where their weight is trained;
    PyTorch's own layer norm keeps its input."""
    count = 1 if model.kind in _ONE_NORM else 4 if model.kind in _NORM_OUTPUTS_TOO else 2
    if model.kind in _LAYER_NORM:
        return count * model.hidden * 4
    each = 4 + (0 if load.adapter else load.compute_bytes)
    heads = (model.heads + model.kv_heads) * model.head_dim if model.kind in _HEAD_NORMS else 0
    return each * (count * model.hidden + heads)


def _attention(model: Model, load: Workload) -> float:
    """Queries, keys, values and the result. A mask, which rows of many lengths and packed ones need, makes
    transformers repeat keys and values for each head, and SDPA keep the mask in numbers for each layer. Eager
    attention keeps its probabilities, a row for each head."""
    queries = model.heads * model.head_dim
    masked = load.packed or load.micro_batch > 1 or load.attention == "eager"
    keys = queries if masked and load.attention in ("sdpa", "eager") else model.kv_heads * model.head_dim
    kept = load.compute_bytes * (2 * queries + 2 * keys)
    if model.kind in _ONE_PROJECTION:
        kept += load.compute_bytes * 2 * queries  # a view of the values keeps queries and keys, too
    if load.attention == "eager":
        return kept + model.heads * load.length * (4 if load.compute_bytes == 4 else 6)
    return kept + (load.compute_bytes * load.length if masked and load.attention == "sdpa" else 0)


def _feed_forward(model: Model, load: Workload) -> float:
    """What lies between the matrices: gate, its activation and the other half; or the activation's input."""
    inside = 3 if model.gated else 1
    if model.activation == "gelu_new":  # written out in Python: each of its terms is kept
        inside += 3
    return load.compute_bytes * inside * model.intermediate


def _inputs(model: Model, load: Workload, keys: Mapping[str, Any]) -> float:
    """Inputs of the matrix products, kept where a weight there is trained.

    In bfloat16 each adapted module makes a copy of its own (peft casts to the adapter's single precision,
    autocast back); so does dropout, which also keeps what it multiplied with.
    """
    if not load.adapter:
        norms = 1 if model.kind in _ONE_NORM else 2
        return load.compute_bytes * (norms * model.hidden + model.intermediate)
    widths = _adapted_inputs(model, keys)
    dropout = float(keys.get("lora_dropout") or 0) > 0
    own = load.compute_bytes == 2 or dropout
    queries = model.heads * model.head_dim
    if own:
        return sum(widths) * load.compute_bytes * (2 if dropout else 1)
    shared = {width for width in widths if width != queries or width == model.hidden}
    both = 1 if model.kind in _ONE_NORM else 2
    return load.compute_bytes * sum(width * (both if width == model.hidden else 1) for width in shared)


def _adapted_inputs(model: Model, keys: Mapping[str, Any]) -> list[int]:
    """The input width of each adapted module of one layer."""
    found = adapted(model, keys)
    per_layer = max(1, round(len(found) / model.layers))
    return [tensor.shape[1] for tensor in list(found.values())[:per_layer]]
