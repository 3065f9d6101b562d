"""What config.json says of a decoder's shape, and the weights that follow from it by arithmetic.

The names and defaults are those of the model classes of transformers 5.16 (`models/<kind>/configuration_*.py`
and `modeling_*.py`); a test holds the arithmetic against those classes, weight by weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.estimate.safetensors import Tensor

MOST_LAYERS = 10_000  # more are no model, and their weights would be listed one by one
_DTYPES = {"float32": "F32", "bfloat16": "BF16", "float16": "F16"}
# Kinds whose classes tie the output layer to the embedding unless config.json says otherwise.
_TIED = {"gemma", "gemma2", "gemma3", "gemma3_text", "gpt2", "cohere", "cohere2", "smollm3"}
_NORMS: Mapping[str, tuple[str, ...]] = {
    "gemma2": ("input", "post_attention", "pre_feedforward", "post_feedforward"),
    "gemma3_text": ("input", "post_attention", "pre_feedforward", "post_feedforward"),
    "olmo2": ("post_attention", "post_feedforward"),
}
_LIKE_LLAMA = {"llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "smollm3", "olmo2"}
_UNGATED = {"gpt2", "gpt_neox", "phi", "gptj", "opt", "bloom", "falcon", "starcoder2", "nemotron"}


@dataclass(frozen=True)
class Architecture:
    """A decoder's shape, in elements.

    `intermediate` is the width of one feed-forward layer as a token sees it: with experts, all those
    that one token visits together. `gated` feed-forward layers have three matrices, plain ones two.
    `activation` is config.json's word for the function between them; `soft_capped` models keep the scores
    of their last layer once more.
    """

    kind: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    gated: bool
    vocabulary: int
    tied: bool
    activation: str
    soft_capped: bool


def architecture_of(config: Mapping[str, Any]) -> Architecture | None:
    """The shape that a config.json describes; None where it does not name one."""
    outer = config
    if isinstance(config.get("text_config"), dict):
        config = {**config["text_config"]}
    kind = str(config.get("model_type") or outer.get("model_type") or "")
    hidden = _whole(config, "hidden_size", "n_embd", "d_model")
    layers = _whole(config, "num_hidden_layers", "n_layer", "num_layers")
    heads = _whole(config, "num_attention_heads", "n_head", "num_heads")
    vocabulary = _whole(config, "vocab_size")
    if not (hidden and layers and heads and vocabulary) or layers > MOST_LAYERS:
        return None
    tied = config.get("tie_word_embeddings", outer.get("tie_word_embeddings"))
    return Architecture(
        kind=kind,
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=_whole(config, "num_key_value_heads") or heads,
        head_dim=_whole(config, "head_dim") or hidden // heads,
        intermediate=_intermediate(config, hidden),
        gated=kind not in _UNGATED,
        vocabulary=vocabulary,
        tied=bool(kind in _TIED if tied is None else tied),
        activation=str(config.get("hidden_act") or config.get("hidden_activation") or ""),
        soft_capped=bool(config.get("final_logit_softcapping")),
    )


def tensors_of(config: Mapping[str, Any], shape: Architecture) -> dict[str, Tensor]:
    """The weights by name, for the kinds whose arithmetic is known; none for others."""
    outer = config
    if isinstance(config.get("text_config"), dict):
        config = config["text_config"]
    dtype = config.get("dtype") or config.get("torch_dtype") or outer.get("dtype") or outer.get("torch_dtype")
    if shape.kind in _LIKE_LLAMA:
        found = _like_llama(config, shape)
    elif shape.kind == "phi3":
        found = _phi3(shape)
    elif shape.kind == "phi":
        found = _phi(shape)
    elif shape.kind == "gpt_neox":
        found = _gpt_neox(config, shape)
    else:
        return {}
    return {name: Tensor(size, _DTYPES.get(str(dtype), "F32")) for name, size in found}


Named = Iterator[tuple[str, tuple[int, ...]]]


def _like_llama(config: Mapping[str, Any], shape: Architecture) -> Named:
    hidden, width = shape.hidden, shape.intermediate
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    qkv_bias = bool(config.get("attention_bias", shape.kind == "qwen2"))
    o_bias = qkv_bias and shape.kind != "qwen2"
    yield "model.embed_tokens.weight", (shape.vocabulary, hidden)
    for layer in range(shape.layers):
        at = f"model.layers.{layer}"
        for name, rows in (("q_proj", queries), ("k_proj", keys), ("v_proj", keys)):
            yield from _linear(f"{at}.self_attn.{name}", rows, hidden, qkv_bias)
        yield from _linear(f"{at}.self_attn.o_proj", hidden, queries, o_bias)
        yield from _query_norms(f"{at}.self_attn", shape, queries, keys)
        mlp_bias = bool(config.get("mlp_bias", False))
        for name, size in (("gate_proj", (width, hidden)), ("up_proj", (width, hidden))):
            yield from _linear(f"{at}.mlp.{name}", *size, mlp_bias)
        yield from _linear(f"{at}.mlp.down_proj", hidden, width, mlp_bias)
        for norm in _NORMS.get(shape.kind, ("input", "post_attention")):
            yield f"{at}.{norm}_layernorm.weight", (hidden,)
    yield "model.norm.weight", (hidden,)
    if not shape.tied:
        yield "lm_head.weight", (shape.vocabulary, hidden)


def _query_norms(at: str, shape: Architecture, queries: int, keys: int) -> Named:
    """Norms of queries and keys: of one head in Qwen3 and Gemma 3, of all heads together in OLMo 2."""
    if shape.kind in ("qwen3", "gemma3_text"):
        queries = keys = shape.head_dim
    elif shape.kind != "olmo2":
        return
    yield f"{at}.q_norm.weight", (queries,)
    yield f"{at}.k_norm.weight", (keys,)


def _phi3(shape: Architecture) -> Named:
    hidden, width = shape.hidden, shape.intermediate
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    yield "model.embed_tokens.weight", (shape.vocabulary, hidden)
    for layer in range(shape.layers):
        at = f"model.layers.{layer}"
        yield f"{at}.self_attn.qkv_proj.weight", (queries + 2 * keys, hidden)
        yield f"{at}.self_attn.o_proj.weight", (hidden, queries)
        yield f"{at}.mlp.gate_up_proj.weight", (2 * width, hidden)
        yield f"{at}.mlp.down_proj.weight", (hidden, width)
        yield f"{at}.input_layernorm.weight", (hidden,)
        yield f"{at}.post_attention_layernorm.weight", (hidden,)
    yield "model.norm.weight", (hidden,)
    if not shape.tied:
        yield "lm_head.weight", (shape.vocabulary, hidden)


def _phi(shape: Architecture) -> Named:
    hidden, width = shape.hidden, shape.intermediate
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    yield "model.embed_tokens.weight", (shape.vocabulary, hidden)
    for layer in range(shape.layers):
        at = f"model.layers.{layer}"
        for name, rows in (("q_proj", queries), ("k_proj", keys), ("v_proj", keys)):
            yield from _linear(f"{at}.self_attn.{name}", rows, hidden, True)
        yield from _linear(f"{at}.self_attn.dense", hidden, queries, True)
        yield from _linear(f"{at}.mlp.fc1", width, hidden, True)
        yield from _linear(f"{at}.mlp.fc2", hidden, width, True)
        yield from _layer_norm(f"{at}.input_layernorm", hidden)
    yield from _layer_norm("model.final_layernorm", hidden)
    if not shape.tied:
        yield from _linear("lm_head", shape.vocabulary, hidden, True)


def _gpt_neox(config: Mapping[str, Any], shape: Architecture) -> Named:
    hidden, width = shape.hidden, shape.intermediate
    bias = bool(config.get("attention_bias", True))
    yield "gpt_neox.embed_in.weight", (shape.vocabulary, hidden)
    for layer in range(shape.layers):
        at = f"gpt_neox.layers.{layer}"
        yield from _linear(f"{at}.attention.query_key_value", 3 * hidden, hidden, bias)
        yield from _linear(f"{at}.attention.dense", hidden, hidden, bias)
        yield from _linear(f"{at}.mlp.dense_h_to_4h", width, hidden, True)
        yield from _linear(f"{at}.mlp.dense_4h_to_h", hidden, width, True)
        yield from _layer_norm(f"{at}.input_layernorm", hidden)
        yield from _layer_norm(f"{at}.post_attention_layernorm", hidden)
    yield from _layer_norm("gpt_neox.final_layer_norm", hidden)
    if not shape.tied:
        yield "embed_out.weight", (shape.vocabulary, hidden)


def _linear(name: str, rows: int, columns: int, bias: bool) -> Named:
    yield f"{name}.weight", (rows, columns)
    if bias:
        yield f"{name}.bias", (rows,)


def _layer_norm(name: str, width: int) -> Named:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)


def _intermediate(config: Mapping[str, Any], hidden: int) -> int:
    experts = _whole(config, "moe_intermediate_size"), _whole(config, "num_experts_per_tok")
    if experts[0] and experts[1]:
        return experts[0] * experts[1] + _whole(config, "shared_expert_intermediate_size")
    width = _whole(config, "intermediate_size", "n_inner", "ffn_dim") or 4 * hidden
    return width * max(1, experts[1])


def _whole(config: Mapping[str, Any], *names: str) -> int:
    """The first of these fields that holds a positive whole number; 0 where none does."""
    values = (config.get(name) for name in names)
    return next((v for v in values if isinstance(v, int) and not isinstance(v, bool) and v > 0), 0)
