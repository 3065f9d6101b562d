"""What vLLM serves of adapters, and the command that serves one."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

# The ranks `vllm serve --max-lora-rank` takes (vllm/config/lora.py); without the flag it is 16.
VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
VLLM_DEFAULT_RANK = 16
_VLLM_SAVED_MODULES = {"classifier", "score"}
_VLLM_REFUSED_STARTS = ("pissa", "olora", "corda", "loftq")
_VLLM_REFUSED = {
    "use_dora": "DoRA",
    "lora_bias": "a bias in the adapter (`lora_bias`)",
    "alora_invocation_tokens": "activated LoRA",
    "layer_replication": "replicated layers",
    "use_qalora": "QA-LoRA",
    "use_bdlora": "BD-LoRA",
    "alpha_pattern": "an alpha per layer (`alpha_pattern`)",
    "trainable_token_indices": "trained token embeddings (`trainable_token_indices`)",
}
MERGE = "Merge it into the base model with PEFT's `merge_and_unload()` and serve the result."


def read_config(data: bytes) -> Mapping[str, Any] | None:
    """PEFT's config of an adapter, as its file has it; None where that is none: code of a model may have
    written it."""
    try:
        config = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return config if isinstance(config, dict) and _is_sound(config) else None


def _is_sound(config: Mapping[str, Any]) -> bool:
    """Whether what is read of a config here is of its kind."""
    ranks, saved = config.get("rank_pattern") or {}, config.get("modules_to_save") or []
    return (
        isinstance(ranks, dict)
        and isinstance(saved, list)
        and all(type(rank) is int for rank in (config.get("r") or 0, *ranks.values()))
        and all(isinstance(name, str) for name in saved)
    )


def serving_notes(adapter_config: Mapping[str, Any]) -> list[str]:
    """Why vLLM cannot serve an adapter, in sentences; empty when it can.

    The rules are those of vllm/lora/peft_helper.py and vLLM's page on LoRA adapters.
    """
    config = adapter_config
    notes = [f"vLLM does not serve {what}." for option, what in _VLLM_REFUSED.items() if config.get(option)]
    if config.get("bias", "none") != "none":
        notes.append(f"vLLM does not serve trained biases (`bias: {config['bias']}`).")
    if saved := sorted(set(config.get("modules_to_save") or ()) - _VLLM_SAVED_MODULES):
        notes.append(
            f"vLLM does not load whole modules from an adapter (`modules_to_save`: {', '.join(saved)})."
        )
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_VLLM_REFUSED_STARTS):
        notes.append(
            f"vLLM does not serve adapters initialised with {start}: they belong to changed base weights."
        )
    if (rank := max_rank(config)) > VLLM_RANKS[-1]:
        notes.append(f"vLLM serves ranks up to {VLLM_RANKS[-1]}; this adapter has {rank}.")
    return notes


def max_rank(adapter_config: Mapping[str, Any]) -> int:
    """The highest rank of any layer of an adapter."""
    ranks = (adapter_config.get("rank_pattern") or {}).values()
    return max([int(adapter_config.get("r") or 0), *(int(rank) for rank in ranks)])


def vllm_rank(adapter_config: Mapping[str, Any]) -> int:
    """The `--max-lora-rank` that an adapter needs: the next rank that vLLM takes."""
    enough = (rank for rank in VLLM_RANKS if rank >= max_rank(adapter_config))
    return max(next(enough, VLLM_RANKS[-1]), VLLM_DEFAULT_RANK)


def vllm_command(
    name: str, model: str, revision: str | None, adapter_config: Mapping[str, Any] | None, path: str
) -> list[str]:
    """The lines of the command that serves what lies at `path` as `name`.

    `model` is the base model as vLLM finds it; `adapter_config` is None for full weights.
    """
    if adapter_config is None:
        return [f"vllm serve {shlex.quote(path)} --served-model-name {shlex.quote(name)}"]
    module = json.dumps({"name": name, "path": path, "base_model_name": model})
    pinned = f" --revision {shlex.quote(revision)}" if revision else ""
    rank = vllm_rank(adapter_config)
    return [
        f"vllm serve {shlex.quote(model)}{pinned} --enable-lora --max-lora-rank {rank} \\",
        f"  --lora-modules {shlex.quote(module)}",
    ]


def model_and_revision(base_model: str) -> tuple[str, str | None]:
    """A hub id and its revision; of a model folder the last name only, as paths say nothing elsewhere."""
    if re.match(r"^(/|\.|~|[a-z0-9]+://)", base_model):
        return base_model.rstrip("/").rpartition("/")[2] or base_model, None
    model, _, revision = base_model.partition("@")
    return model, revision or None
