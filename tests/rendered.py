"""The specs whose rendered configs are kept as golden files and shown to Axolotl itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from orchestrator.axolotl.render import Config, DatasetFacts, MachineClass, render
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

ADAPTERS = {
    "lora": "adapter: {kind: lora, r: 16, alpha: 32, dropout: 0.05}\n",
    "full": "adapter: {kind: full}\n",
}
EXTRAS = {
    "early-stopping": "training: {max_steps: 40, eval_steps: 5, early_stopping: {patience: 3}}\n",
    "pass-through": "adapter: {kind: lora, target_modules: [q_proj, v_proj]}\n"
    "axolotl: {neftune_noise_alpha: 5, lr_groups: [{name: head, modules: [lm_head], lr: 1e-6}],"
    " cosine_min_lr_ratio: 0.1, peft_use_rslora: true}\n",
}


def spec_of(text: str) -> Spec:
    return parse_spec((SPEC + text).encode(), Path("spec.yaml")).spec


def configs() -> Iterator[tuple[str, Config]]:
    """Every config, with the name of its golden file."""
    machine_classes: tuple[MachineClass, ...] = ("cpu", "gpu")
    for adapter, text in ADAPTERS.items():
        for packing in (False, True):
            training = f"training: {{epochs: 3, learning_rate: 2e-5, packing: {str(packing).lower()}}}\n"
            for machine_class in machine_classes:
                name = f"{adapter}-{'packed' if packing else 'unpacked'}-{machine_class}"
                yield name, render(spec_of(text + training), machine_class, FACTS)
    for name, text in EXTRAS.items():
        yield name, render(spec_of(text), "gpu", FACTS)
