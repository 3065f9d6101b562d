"""The specs whose rendered configs are kept as golden files and shown to Axolotl itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.axolotl.keys import key_rules
from orchestrator.axolotl.render import Config, DatasetFacts, render
from orchestrator.errors import SpecError
from orchestrator.machines import MACHINES, Machine
from orchestrator.spec.load import parse_spec
from orchestrator.spec.models import Spec

FACTS = DatasetFacts(
    rows=1900, validation_rows=100, tokens=212_345, trained_tokens=9_876, longest=301, digest="5eed" * 16
)

SPEC = """
name: support-triage
base_model: Qwen/Qwen3-0.6B@c1899de289a04d12100db370d81485cdf75e47ca
dataset: {source: tickets.parquet, validation: 0.05}
mapping:
  messages:
    - {role: user, content: "{{ subject }}"}
    - {role: assistant, content: "{{ queue }}"}
"""

MACHINES_OF = {**MACHINES, "cpu-2": Machine("cpu-2", "cpu", 2), "gpu-4": Machine("gpu-4", "gpu", 4)}

ADAPTERS = {
    "lora": "adapter: {kind: lora, r: 16, alpha: 32, dropout: 0.05}\n",
    "qlora": "adapter: {kind: qlora}\n",
    "full": "adapter: {kind: full}\n",
}
EXTRAS = {
    "early-stopping": ("gpu", "training: {max_steps: 40, eval_steps: 5, early_stopping: {patience: 3}}\n"),
    "pass-through": (
        "gpu",
        "adapter: {kind: lora, target_modules: [q_proj, v_proj]}\n"
        "axolotl: {neftune_noise_alpha: 5, lr_groups: [{name: head, modules: [lm_head], lr: 1e-6}],"
        " lr_scheduler_kwargs: {power: 2.0}, peft_use_rslora: true}\n"
        "training: {scheduler: polynomial, min_lr_ratio: 0.1}\n",
    ),
    "checkpoints-by-steps": ("cpu", "training: {checkpoint_steps: 50, gradient_checkpointing: true}\n"),
    "stable-decay": ("gpu", "training: {scheduler: warmup_stable_decay, decay_ratio: 0.2}\n"),
    "continued-cpu": ("cpu", "adapter: {kind: qlora, continue_from: earlier-abc12}\n"),
    "lora-ddp-cpu": ("cpu-2", ""),
    "qlora-ddp-gpu": ("gpu-4", "adapter: {kind: qlora}\n"),
    "qlora-fsdp-gpu": ("gpu-4", "adapter: {kind: qlora}\ncompute: {parallel: fsdp}\n"),
    "full-fsdp-gpu": (
        "gpu-4",
        "adapter: {kind: full}\ncompute: {parallel: fsdp}\ntraining: {packing: true}\n",
    ),
}


TEXTS = {
    "pretrain-unpacked-cpu": ("cpu", "adapter: {kind: full}\n"),
    "pretrain-packed-gpu": ("gpu", "adapter: {kind: lora}\ntraining: {packing: true}\n"),
    "pretrain-streaming-cpu": (
        "cpu",
        "training: {streaming: true, packing: true, max_steps: 200, sequence_len: 128, batch_size: 8}\n",
    ),
}
PRETRAIN = SPEC[: SPEC.index("mapping:")] + 'method: pretrain\nmapping: {text: "{{ body }}"}\n'


def spec_of(text: str, base: str = SPEC) -> Spec:
    return parse_spec((base + text).encode(), Path("spec.yaml")).spec


def configs() -> Iterator[tuple[str, Config]]:
    """Every config, with the name of its golden file."""
    for adapter, text in ADAPTERS.items():
        for packing in (False, True):
            training = f"training: {{epochs: 3, learning_rate: 2e-5, packing: {str(packing).lower()}}}\n"
            for machine in MACHINES.values():
                name = f"{adapter}-{'packed' if packing else 'unpacked'}-{machine.name}"
                yield name, render(spec_of(text + training), machine, FACTS)
    for name, (machine_name, text) in EXTRAS.items():
        yield name, render(spec_of(text), MACHINES_OF[machine_name], FACTS)
    for name, (machine_name, text) in TEXTS.items():
        yield name, render(spec_of(text, PRETRAIN), MACHINES_OF[machine_name], FACTS)


SAMPLES: dict[str, list[Any]] = {
    "lora_alpha_pattern": [{"q_proj": 8}],
    "lora_rank_pattern": [{"q_proj": 8}],
    "lora_target_parameters": [["mlp.experts.down_proj"]],
    "lr_groups": [[{"name": "head", "modules": ["lm_head"], "lr": 1e-6}]],
    "lr_scheduler_kwargs": [{"num_cycles": 0.5}],
    "peft_layers_pattern": [["layers"]],
    "peft_layers_to_transform": [[0, 1]],
    "torch_compile_mode": ["default", "reduce-overhead", "max-autotune"],
    "unfrozen_parameters": [["lm_head.*"]],
}
PASSED_OVER = {
    "lora": "",
    "full-packed": "adapter: {kind: full}\ntraining: {packing: true, min_lr_ratio: 0.1}\n",
    "fsdp": "compute: {machine: gpu-4, parallel: fsdp}\n",
    "cpu": "compute: {machine: cpu}\ntraining: {gradient_checkpointing: true}\n",
    "streaming": "method: pretrain",
}


def passed_through() -> Iterator[tuple[str, Config]]:
    """A config for each key that may stand under `axolotl`, at each choice and bound we let through."""
    for rule in key_rules().values():
        ends = [value for value in (rule.minimum, rule.maximum) if value is not None]
        values = [*rule.choices, *ends] or SAMPLES.get(rule.key, [True, False])
        for value in values if rule.kind in ("free", "bounded") else []:
            for over, text in PASSED_OVER.items():
                yield from _passed(f"{over}: {rule.key}: {value}", {rule.key: value}, text)


def _passed(name: str, keys: dict[str, Any], text: str) -> Iterator[tuple[str, Config]]:
    streaming = "training: {streaming: true, packing: true, max_steps: 3}\n"
    spec = spec_of(streaming, PRETRAIN) if "pretrain" in text else spec_of(text)
    spec = spec.model_copy(update={"axolotl": keys})
    machine = MACHINES_OF["gpu-4" if "gpu-4" in text else "cpu" if "cpu" in text else "gpu"]
    with contextlib.suppress(SpecError):
        yield name, render(spec, machine, FACTS)
