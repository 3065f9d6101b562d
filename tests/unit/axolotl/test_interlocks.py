"""Keys that do not go together, and what a machine cannot do, are refused in our words."""

from __future__ import annotations

import pytest
from rendered import FACTS, MACHINES_OF, spec_of

from orchestrator.axolotl.render import faults_on, render
from orchestrator.errors import Fault, SpecError


def refused(text: str, machine: str = "gpu") -> list[Fault]:
    with pytest.raises(SpecError) as caught:
        render(spec_of(text), MACHINES_OF[machine], FACTS)
    return list(caught.value.faults)


@pytest.mark.parametrize(
    ("machine", "text", "key"),
    [
        ("cpu", "axolotl: {attn_implementation: flex_attention}", "attn_implementation"),
        ("cpu", "axolotl: {optimizer: adamw_8bit}", "optimizer"),
        ("cpu", "axolotl: {layer_offloading: true}", "layer_offloading"),
        ("gpu", "axolotl: {lora_on_cpu: true}\nadapter: {kind: full}", "lora_on_cpu"),
        (
            "gpu",
            "axolotl: {loraplus_lr_ratio: 4, lr_groups: [{name: a, modules: [b], lr: 0.1}]}",
            "loraplus_lr_ratio",
        ),
        ("gpu", "axolotl: {loraplus_lr_embedding: 0.1}", "loraplus_lr_embedding"),
        ("gpu", "axolotl: {peft_layers_pattern: [layers]}", "peft_layers_pattern"),
        ("gpu", "axolotl: {unfrozen_parameters: [lm_head]}", "unfrozen_parameters"),
        (
            "gpu",
            "axolotl: {lora_target_parameters: [a]}\nadapter: {kind: lora, dropout: 0.1}",
            "lora_target_parameters",
        ),
        (
            "gpu",
            "axolotl: {peft_use_rslora: true}\nadapter: {kind: lora, continue_from: earlier-abc12}",
            "peft_use_rslora",
        ),
        ("gpu", "axolotl: {sample_packing_bin_size: 4}", "sample_packing_bin_size"),
        ("gpu", "axolotl: {pad_to_sequence_len: false}\ntraining: {packing: true}", "pad_to_sequence_len"),
        ("gpu", "axolotl: {adam_beta1: 0.9}", "adam_beta1"),
        ("gpu", "axolotl: {adam_epsilon: 1e-8, optimizer: adafactor}", "adam_epsilon"),
        ("gpu-4", "axolotl: {optimizer: paged_adamw_8bit}\ncompute: {parallel: fsdp}", "optimizer"),
        ("gpu", "axolotl: {lr_scheduler_kwargs: {power: 2}}", "lr_scheduler_kwargs.power"),
        (
            "gpu",
            "axolotl: {lr_scheduler_kwargs: {lr_end: 0.0}}\ntraining: {scheduler: polynomial}",
            "lr_scheduler_kwargs.lr_end",
        ),
        ("gpu", "axolotl: {cosine_constant_lr_ratio: 0.5}", "cosine_constant_lr_ratio"),
        ("gpu", "axolotl: {lr_quadratic_warmup: true}\ntraining: {scheduler: linear}", "lr_quadratic_warmup"),
        (
            "gpu",
            "axolotl: {activation_offloading: true}\ntraining: {gradient_checkpointing: false}",
            "activation_offloading",
        ),
        (
            "gpu",
            "axolotl: {activation_offloading: true, selective_checkpointing: true}",
            "activation_offloading",
        ),
        ("gpu", "axolotl: {tiled_mlp_num_shards: 4}", "tiled_mlp_num_shards"),
        ("cpu", "axolotl: {dataloader_prefetch_factor: 4}", "dataloader_prefetch_factor"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(machine: str, text: str, key: str) -> None:
    (fault,) = refused(f"{text}\n", machine)
    assert fault.path == f"axolotl.{key}"
    assert fault.fix


def test_the_same_keys_pass_where_they_belong() -> None:
    text = (
        "axolotl: {optimizer: adamw_8bit, adam_beta1: 0.9, adam_beta2: 0.95, activation_offloading: true,"
        " lr_scheduler_kwargs: {power: 2}, sample_packing_bin_size: 4, dataloader_prefetch_factor: 4}\n"
        "training: {packing: true, scheduler: polynomial}\n"
    )
    assert faults_on(spec_of(text), MACHINES_OF["gpu"]) == []


@pytest.mark.parametrize(
    ("machine", "text", "path", "fix"),
    [
        ("gpu", "compute: {parallel: ddp}", "compute.parallel", "several devices"),
        ("cpu-2", "compute: {parallel: fsdp}", "compute.parallel", "parallel: ddp"),
        ("gpu-4", "training: {batch_size: 30}", "training.batch_size", "set it to 32"),
        ("gpu-4", "training: {batch_size: 12, micro_batch_size: 2}", "training.batch_size", "set it to 16"),
    ],
)
def test_what_a_machine_cannot_do_is_refused(machine: str, text: str, path: str, fix: str) -> None:
    (fault,) = refused(f"{text}\n", machine)
    assert fault.path == path
    assert fix in (fault.fix or "")


@pytest.mark.parametrize(("machine", "batch"), [("cpu-2", 32), ("gpu-4", 32), ("gpu-4", 4), ("gpu-4", 20)])
def test_all_devices_together_make_the_batch_and_the_steps(machine: str, batch: int) -> None:
    text = f"training: {{batch_size: {batch}}}\n"
    config = render(spec_of(text), MACHINES_OF[machine], FACTS)
    devices = MACHINES_OF[machine].devices
    assert config.micro_batch_size * config.accumulation * devices == batch
    assert config.steps == render(spec_of(text), MACHINES_OF["gpu"], FACTS).steps


def test_a_stable_phase_needs_to_know_where_it_ends() -> None:
    packed = "training: {packing: true, scheduler: warmup_stable_decay%s}\n"
    (fault,) = refused(packed % "")
    assert fault.path == "training.scheduler"
    keys = render(spec_of(packed % ", max_steps: 50"), MACHINES_OF["gpu"], FACTS).keys
    assert keys["lr_scheduler_kwargs"] == {"num_decay_steps": 5, "min_lr_ratio": 0.0}
