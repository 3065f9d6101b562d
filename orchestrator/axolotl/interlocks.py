"""Keys that do not go together: told here, in the spec's words, before Axolotl or PyTorch would fail.

Each rule names its source: Axolotl 0.19.0's validators (`utils/schemas`), or the call that raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from orchestrator.errors import Fault
from orchestrator.machines import Machine
from orchestrator.spec.faults import shown
from orchestrator.spec.models import Spec

_OURS = ("lr_end", "num_decay_steps", "min_lr_ratio")  # arguments of schedules that the spec has fields for
# What transformers' and PyTorch's schedules take beside that; others end training with a TypeError.
_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "cosine": ("num_cycles",),
    "cosine_with_restarts": ("num_cycles",),
    "polynomial": ("power",),
    "inverse_sqrt": ("timescale",),
    "warmup_stable_decay": ("warmup_type", "decay_type", "num_cycles"),
    "one_cycle": (
        "pct_start",
        "anneal_strategy",
        "div_factor",
        "final_div_factor",
        "three_phase",
        "cycle_momentum",
        "base_momentum",
        "max_momentum",
    ),
}
_OF_A_NEW_ADAPTER = frozenset(
    [
        "lora_alpha_pattern",
        "lora_fan_in_fan_out",
        "lora_rank_pattern",
        "lora_target_parameters",
        "peft_ensure_weight_tying",
        "peft_init_lora_weights",
        "peft_layers_pattern",
        "peft_layers_to_transform",
        "peft_use_rslora",
    ]
)


def interlock_faults(spec: Spec, machine: Machine, keys: Mapping[str, Any]) -> list[Fault]:
    """What under `axolotl` contradicts the rest of the spec, its machine, or itself.

    `keys` are those rendered without the section. Faults have paths, and no places yet.
    """
    return [fault for rule in _RULES for fault in rule(spec, machine, keys)]


def _needs_a_gpu(spec: Spec, machine: Machine, keys: Mapping[str, Any]) -> Iterator[Fault]:
    """Triton kernels, CUDA memory and bitsandbytes' optimizers: each raises on a CPU when it is used."""
    if machine.device == "gpu":
        return
    for key in ("activation_offloading", "fused_attn_kernel", "layer_offloading"):
        if spec.axolotl.get(key):
            yield _fault(spec, key, "this needs a GPU", "remove it, or take a machine with one")
    if spec.axolotl.get("attn_implementation") == "flex_attention":
        fix = "remove it, or set it to sdpa or eager"
        yield _fault(spec, "attn_implementation", "this attention needs a GPU to train with", fix)
    if spec.axolotl.get("optimizer") in ("adamw_torch_fused", "adamw_8bit", "paged_adamw_8bit"):
        fix = "remove it, or set it to adamw_torch or adafactor"
        yield _fault(spec, "optimizer", "this optimizer needs a GPU", fix)


def _low_rank_only(spec: Spec, machine: Machine, keys: Mapping[str, Any]) -> Iterator[Fault]:
    """Keys of an adapter do nothing where all weights are trained."""
    if spec.adapter.low_rank:
        return
    for key in spec.axolotl:
        if key.startswith(("lora_", "loraplus_", "peft_")):
            yield _fault(spec, key, "adapter.kind full has no low-rank adapter", "remove it")


def _adapters(spec: Spec, machine: Machine, keys: Mapping[str, Any]) -> Iterator[Fault]:
    """`LoRAValidationMixin` and `LoraConfig`."""
    passed = spec.axolotl
    if passed.get("lr_groups") and passed.get("loraplus_lr_ratio"):
        what = "lr_groups and loraplus_lr_ratio both set the learning rates of groups of weights"
        yield _fault(spec, "loraplus_lr_ratio", what, "keep one of the two")
    if passed.get("loraplus_lr_embedding") and not passed.get("loraplus_lr_ratio"):
        what = "it has an effect only beside loraplus_lr_ratio"
        yield _fault(spec, "loraplus_lr_embedding", what, "set loraplus_lr_ratio, or remove it")
    if passed.get("peft_layers_pattern") and not passed.get("peft_layers_to_transform"):
        what = "a pattern of layers needs the layers to transform"
        yield _fault(spec, "peft_layers_pattern", what, "set peft_layers_to_transform, or remove it")
    if passed.get("unfrozen_parameters") and spec.adapter.low_rank:
        what = "with an adapter the base model's weights stay as they are"
        yield _fault(spec, "unfrozen_parameters", what, "remove it, or set adapter: {kind: full}")
    if passed.get("lora_target_parameters") and spec.adapter.dropout:
        what = "lora_target_parameters cannot be trained with dropout"
        yield _fault(spec, "lora_target_parameters", what, "set adapter.dropout to 0")


def _earlier_adapter(spec: Spec, machine: Machine, keys: Mapping[str, Any]) -> Iterator[Fault]:
    """`loaders/adapter.py`: with `lora_model_dir` the saved adapter_config.json governs, without a word."""
    if spec.adapter.continue_from:
        for key in sorted(_OF_A_NEW_ADAPTER & set(spec.axolotl)):
            what = "the adapter it goes on from has been made already, with settings of its own"
            yield _fault(spec, key, what, "remove it")


def _packing(spec: Spec, machine: Machine, keys: Mapping[str, Any]) -> Iterator[Fault]:
    """Packed sequences keep one length (`RequirementsValidationMixin`), and belong to packing."""
    passed, packing = spec.axolotl, spec.training.packing
    for key in ("sample_packing_sequentially", "sample_packing_bin_size", "sample_packing_group_size"):
        if key in passed and not packing:
            fix = "remove it, or set training: {packing: true}"
            yield _fault(spec, key, "nothing is packed", fix)
    if passed.get("pad_to_sequence_len") is False and packing:
        what = "packed sequences are padded to one length"
        yield _fault(spec, "pad_to_sequence_len", what, "remove it")


def _streaming(spec: Spec, machine: Machine, keys: Mapping[str, Any]) -> Iterator[Fault]:
    """`PretrainingValidationMixin`, and what needs to know all rows beforehand."""
    if not spec.training.streaming:
        return
    for key in ("include_tokens_per_second", "curriculum_sampling", "sample_packing_sequentially"):
        if spec.axolotl.get(key):
            what = "it counts or orders all rows, which a stream does not know"
            yield _fault(spec, key, what, "remove it, or training.streaming")


def _optimizers(spec: Spec, machine: Machine, keys: Mapping[str, Any]) -> Iterator[Fault]:
    """`check_adamw_optimizer_params`, and `check_fsdp2_w_8bit_optimizer` with its paged twin."""
    optimizer = str(spec.axolotl.get("optimizer", keys["optimizer"]))
    if "fsdp_config" in keys and "8bit" in optimizer:
        fix = "take adamw_torch_fused, or set compute: {parallel: ddp}"
        yield _fault(spec, "optimizer", "an optimizer in 8 bits cannot be shared out by fsdp", fix)
    for key in ("adam_beta1", "adam_beta2", "adam_epsilon"):
        if key in spec.axolotl and "adamw" not in optimizer:
            yield _fault(spec, key, f"the optimizer {optimizer} has no such value", "remove it")
    if ("adam_beta1" in spec.axolotl) != ("adam_beta2" in spec.axolotl):
        alone = "adam_beta1" if "adam_beta1" in spec.axolotl else "adam_beta2"
        yield _fault(spec, alone, "the two betas are set together", "set adam_beta1 and adam_beta2")


def _schedules(spec: Spec, machine: Machine, keys: Mapping[str, Any]) -> Iterator[Fault]:
    """`core/trainers/mixins/scheduler.py`: arguments that the schedule of the spec takes."""
    scheduler = spec.training.scheduler
    allowed = _ARGUMENTS.get(scheduler, ())
    for name in spec.axolotl.get("lr_scheduler_kwargs") or {}:
        if name in allowed:
            continue
        path = f"axolotl.lr_scheduler_kwargs.{name}"
        if name in _OURS:
            yield Fault("the spec has a field for it", "set training.min_lr_ratio or decay_ratio", path=path)
        else:
            fix = f"it takes {', '.join(allowed)}" if allowed else "remove it"
            yield Fault(f"the schedule {scheduler} has no such argument", fix, path=path)
    for key in ("lr_quadratic_warmup", "cosine_constant_lr_ratio"):
        if spec.axolotl.get(key) and scheduler != "cosine":
            yield _fault(spec, key, f"it belongs to the schedule cosine, not {scheduler}", "remove it")
    if spec.axolotl.get("cosine_constant_lr_ratio") and not spec.training.min_lr_ratio:
        what = "without a lowest learning rate it has no effect"
        yield _fault(spec, "cosine_constant_lr_ratio", what, "set training.min_lr_ratio, such as 0.1")
    if spec.axolotl.get("lr_quadratic_warmup") and spec.training.min_lr_ratio:
        what = "with a quadratic warm-up Axolotl ignores the lowest learning rate"
        yield _fault(spec, "lr_quadratic_warmup", what, "keep it or training.min_lr_ratio")


def _memory(spec: Spec, machine: Machine, keys: Mapping[str, Any]) -> Iterator[Fault]:
    """`activation_offloading` and `selective_checkpointing` are ways of computing activations again."""
    again = keys["gradient_checkpointing"]
    for key in ("activation_offloading", "selective_checkpointing"):
        if spec.axolotl.get(key) and not again:
            what = "it belongs to gradient checkpointing, which is off here"
            yield _fault(spec, key, what, "set training: {gradient_checkpointing: true}, or remove it")
    if spec.axolotl.get("selective_checkpointing") and spec.axolotl.get("activation_offloading") not in (
        None,
        False,
        "hidden_states",
    ):
        fix = "set activation_offloading: hidden_states, or keep one of the two"
        yield _fault(spec, "activation_offloading", "it does not work with selective_checkpointing", fix)
    if spec.axolotl.get("tiled_mlp_num_shards") and not spec.axolotl.get("tiled_mlp"):
        yield _fault(spec, "tiled_mlp_num_shards", "tiled_mlp is off", "set tiled_mlp: true, or remove it")
    if spec.axolotl.get("dataloader_prefetch_factor") and not spec.axolotl.get(
        "dataloader_num_workers", keys["dataloader_num_workers"]
    ):
        fix = "set dataloader_num_workers to 1 or more, or remove it"
        yield _fault(spec, "dataloader_prefetch_factor", "without workers nothing is fetched ahead", fix)


def _fault(spec: Spec, key: str, what: str, fix: str) -> Fault:
    value = shown(spec.axolotl[key]) if key in spec.axolotl else None
    return Fault(what, fix, path=f"axolotl.{key}", value=value)


_RULES: tuple[Callable[[Spec, Machine, Mapping[str, Any]], Iterator[Fault]], ...] = (
    _needs_a_gpu,
    _low_rank_only,
    _adapters,
    _earlier_adapter,
    _packing,
    _streaming,
    _optimizers,
    _schedules,
    _memory,
)
