"""Render the Axolotl config of a launch: templates merged as data, then the spec, as one YAML text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator import __version__
from orchestrator.axolotl.dump import dump_yaml
from orchestrator.axolotl.interlocks import interlock_faults
from orchestrator.axolotl.keys import pass_through_faults
from orchestrator.axolotl.schedule import DatasetFacts, Schedule, schedule
from orchestrator.axolotl.schema import AXOLOTL_VERSION, problems
from orchestrator.axolotl.templates import template, template_names
from orchestrator.errors import Fault, SpecError
from orchestrator.machines import Machine
from orchestrator.spec.document import dotted
from orchestrator.spec.faults import shown
from orchestrator.spec.models import Spec
from orchestrator.spec.training import Adapter, Training

__all__ = ["Config", "DatasetFacts", "faults_on", "render"]


@dataclass(frozen=True)
class Config:
    """An Axolotl config: its keys, its YAML text, and the figures of the run.

    `text` is the same bytes for the same spec, dataset and versions. `steps` is None for a packed run
    without max_steps: how many sequences there are is known once Axolotl has packed them. `save_steps`
    is None where checkpoints come by time, `eval_steps` without held-out rows.
    """

    keys: Mapping[str, Any]
    text: str
    steps: int | None
    micro_batch_size: int
    accumulation: int
    save_steps: int | None
    eval_steps: int | None


def render(spec: Spec, machine: Machine, facts: DatasetFacts) -> Config:
    """The config of a spec on a machine.

    Raises SpecError for keys under `axolotl` that may not stand there, and where the dataset or the
    machine cannot do what the spec asks; its faults have paths, and no places yet (spec.load.with_places).
    """
    if faults := faults_on(spec, machine):
        raise SpecError(faults)
    figures = schedule(spec.training, machine, facts)
    if faults := _data_faults(spec, facts, figures):
        raise SpecError(faults)
    keys = _from_templates(spec, machine)
    keys |= _adapter(spec.adapter) | _training(spec.training, figures) | _held_out(spec, keys, figures)
    keys = _passed_through(keys, spec.axolotl)
    if faults := _schema_faults(keys):
        raise SpecError(faults)
    return Config(
        keys=keys,
        text=_header(spec, facts) + dump_yaml(keys),
        steps=figures.steps,
        micro_batch_size=figures.micro_batch_size,
        accumulation=figures.accumulation,
        save_steps=figures.save_steps,
        eval_steps=figures.eval_steps,
    )


def faults_on(spec: Spec, machine: Machine) -> list[Fault]:
    """What a spec asks that its machine, or Axolotl, cannot do, as far as it is known without its data."""
    wrong = [*_machine_faults(spec, machine), *pass_through_faults(spec.axolotl)]
    told = {fault.path for fault in wrong}
    together = interlock_faults(spec, machine, _from_templates(spec, machine))
    return [*wrong, *(fault for fault in together if fault.path not in told)]


def _from_templates(spec: Spec, machine: Machine) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    for name in template_names(spec, machine):
        keys |= template(name).keys
    if spec.adapter.kind == "qlora" and "fsdp_config" in keys:
        # Quantised weights have another shape than the others' placeholders: each process reads them.
        keys["fsdp_config"] = {**keys["fsdp_config"], "cpu_ram_efficient_loading": False}
    return keys | _recomputation(spec.training, keys)


def _adapter(adapter: Adapter) -> dict[str, Any]:
    if adapter.kind == "full":
        return {}
    keys: dict[str, Any] = {
        "lora_r": adapter.r,
        "lora_alpha": adapter.alpha,
        "lora_dropout": adapter.dropout,
    }
    if adapter.target_modules:
        keys |= {"lora_target_linear": False, "lora_target_modules": list(adapter.target_modules)}
    if adapter.continue_from:
        keys["lora_model_dir"] = "adapter-in"  # laid out there by the trainer
    return keys


def _training(training: Training, figures: Schedule) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "seed": training.seed,
        "sequence_len": training.sequence_len,
        "micro_batch_size": figures.micro_batch_size,
        "gradient_accumulation_steps": figures.accumulation,
        "num_epochs": None if training.streaming else training.epochs,
        "max_steps": figures.max_steps,
        "learning_rate": training.learning_rate,
        **_scheduler(training, figures),
        "warmup_steps": figures.warmup_steps,
        "warmup_ratio": training.warmup_ratio if figures.warmup_steps is None else None,
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "save_steps": figures.save_steps,
    }
    return {key: value for key, value in keys.items() if value is not None}


def _scheduler(training: Training, figures: Schedule) -> dict[str, Any]:
    """The schedule, with the learning rate it ends at where Axolotl is told one."""
    floor = training.min_lr_ratio
    keys: dict[str, Any] = {"lr_scheduler": training.scheduler}
    match training.scheduler:
        case "cosine" | "rex":
            keys["cosine_min_lr_ratio"] = floor
        case "polynomial":  # transformers' own end, 1e-7, is above the peak of a very low one
            keys["lr_scheduler_kwargs"] = {"lr_end": training.learning_rate * (floor or 0.0)}
        case "warmup_stable_decay":
            keys["lr_scheduler_kwargs"] = {
                "num_decay_steps": figures.decay_steps,
                "min_lr_ratio": floor or 0.0,
            }
    return keys


def _held_out(spec: Spec, keys: Mapping[str, Any], figures: Schedule) -> dict[str, Any]:
    """The dataset that evaluation runs on, read in the same way as the one for training."""
    if figures.eval_steps is None:
        return {}
    read = keys.get("datasets") or template(spec.method).keys["datasets"]  # held-out rows are never streamed
    dataset = {**read[0], "path": "dataset/validation.parquet", "split": "train"}
    evaluation: dict[str, Any] = {
        "test_datasets": [dataset],
        "eval_steps": figures.eval_steps,
        "eval_batch_size": figures.micro_batch_size,
    }
    if spec.training.early_stopping:
        evaluation |= {
            "early_stopping_patience": spec.training.early_stopping.patience,
            "load_best_model_at_end": True,
            "metric_for_best_model": "eval_loss",
            "greater_is_better": False,
        }
    return evaluation


def _recomputation(training: Training, keys: Mapping[str, Any]) -> dict[str, Any]:
    """Whether activations are computed again: as the spec says, else as the machine's template does.

    FSDP has a way of its own, and the trainer refuses to do both.
    """
    wanted = keys["gradient_checkpointing"]
    if training.gradient_checkpointing is not None:
        wanted = training.gradient_checkpointing
    if "fsdp_config" in keys:
        sharded = {**keys["fsdp_config"], "activation_checkpointing": wanted}
        return {"gradient_checkpointing": False, "fsdp_config": sharded}
    again: dict[str, Any] = {"gradient_checkpointing": wanted}
    if wanted:
        again["gradient_checkpointing_kwargs"] = {"use_reentrant": False}
    return again


def _passed_through(keys: Mapping[str, Any], passed: Mapping[str, Any]) -> dict[str, Any]:
    """The keys with those of the spec's section `axolotl`; the arguments of a schedule are joined."""
    arguments = {**(keys.get("lr_scheduler_kwargs") or {}), **(passed.get("lr_scheduler_kwargs") or {})}
    joined = {"lr_scheduler_kwargs": arguments} if arguments else {}
    return {**keys, **dict(sorted(passed.items())), **joined}


def _machine_faults(spec: Spec, machine: Machine) -> list[Fault]:
    """What the spec asks of the machine that it cannot do."""
    faults, training, parallel = [], spec.training, spec.compute.parallel
    if parallel and machine.devices == 1:
        what = f"the machine {machine.name} has one device, so there is nothing to share"
        fix = "remove it, or take a machine with several devices"
        faults.append(Fault(what, fix, path="compute.parallel", value=parallel))
    elif parallel == "fsdp" and machine.device == "cpu":
        what = "fsdp shares a model over GPUs, and this machine has none"
        faults.append(Fault(what, "set parallel: ddp", path="compute.parallel", value=parallel))
    at_once = machine.devices * (training.micro_batch_size or 1)
    if training.batch_size % at_once:
        micro = f" of {training.micro_batch_size} examples each" if training.micro_batch_size else ""
        what = f"batch_size is not a multiple of the machine's {machine.devices} devices{micro}"
        near = max(1, round(training.batch_size / at_once)) * at_once
        value = str(training.batch_size)
        faults.append(Fault(what, f"set it to {near}", path="training.batch_size", value=value))
    return faults


def _data_faults(spec: Spec, facts: DatasetFacts, figures: Schedule) -> list[Fault]:
    if facts.rows < 1:
        return [Fault("no row is left to train on", "look at what the checks dropped", path="dataset.source")]
    held_out, training = spec.dataset.validation, spec.training
    if training.streaming and facts.tokens < training.sequence_len * training.batch_size:
        # transformers counts micro batches anew in each pass: it would read for ever and end no step.
        what = f"the texts, {facts.tokens:,} tokens, do not fill one step of a stream"
        fix = "leave streaming out, or lower training.batch_size"
        return [Fault(what, fix, path="training.streaming")]
    if held_out is not None and facts.validation_rows < 1:
        fix = "hold out a larger share, or leave validation out"
        return [Fault("no row is held out", fix, path="dataset.validation", value=shown(held_out))]
    if training.scheduler == "warmup_stable_decay" and figures.decay_steps is None:
        what = "the schedule must know how many steps there are, which packing decides"
        fix = "set training.max_steps, or take another schedule"
        return [Fault(what, fix, path="training.scheduler", value=training.scheduler)]
    if training.early_stopping and (training.eval_steps or 0) > (figures.steps or math.inf):
        what = f"the run has {figures.steps} steps, so early stopping would never see an evaluation"
        value = str(training.eval_steps)
        return [Fault(what, "evaluate more often", path="training.eval_steps", value=value)]
    return []


def _schema_faults(keys: Mapping[str, Any]) -> list[Fault]:
    """What Axolotl's schema has against the config: only keys passed through can be wrong."""
    return [
        Fault(problem.what, problem.fix, path=dotted(("axolotl", *problem.path)))
        for problem in problems(keys)
    ]


def _header(spec: Spec, facts: DatasetFacts) -> str:
    return (
        f"# {spec.name}: {json.dumps(spec.model)} on dataset {facts.digest}\n"
        f"# Rendered by axo-orchestrator {__version__} for axolotl {AXOLOTL_VERSION}; "
        "runs in a folder that holds `model` and `dataset`.\n\n"
    )
