"""Render the Axolotl config of a launch: templates merged as data, then the spec, as one YAML text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator import __version__
from orchestrator.axolotl.dump import dump_yaml
from orchestrator.axolotl.keys import pass_through_faults
from orchestrator.axolotl.schedule import DatasetFacts, MachineClass, Schedule, schedule
from orchestrator.axolotl.schema import AXOLOTL_VERSION, problems
from orchestrator.errors import Fault, SpecError
from orchestrator.shipped import templates_folder
from orchestrator.spec.document import dotted
from orchestrator.spec.faults import shown
from orchestrator.spec.models import Adapter, Spec, Training
from orchestrator.spec.yaml import read_yaml

__all__ = ["Config", "DatasetFacts", "MachineClass", "render"]


@dataclass(frozen=True)
class Config:
    """An Axolotl config: its keys, its YAML text, and the figures of the run.

    `text` is the same bytes for the same spec, dataset and versions. `steps` is None for a packed run
    without max_steps: how many sequences there are is known once Axolotl has packed them. `eval_steps`
    is None without held-out rows.
    """

    keys: Mapping[str, Any]
    text: str
    steps: int | None
    micro_batch_size: int
    accumulation: int
    save_steps: int
    eval_steps: int | None


def render(spec: Spec, machine_class: MachineClass, facts: DatasetFacts) -> Config:
    """The config of a spec on one class of machine.

    Raises SpecError for keys under `axolotl` that may not stand there, and where the dataset cannot be
    trained on as the spec asks; its faults have paths, and no places yet (spec.load.with_places).
    """
    figures = schedule(spec.training, machine_class, facts)
    keys = _from_templates(spec, machine_class)
    keys |= _adapter(spec.adapter) | _training(spec.training, figures) | _held_out(spec, keys, figures)
    keys |= dict(sorted(spec.axolotl.items()))
    if faults := [*_data_faults(spec, facts, figures), *pass_through_faults(spec.axolotl)] or _schema_faults(
        keys
    ):
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


def _from_templates(spec: Spec, machine_class: MachineClass) -> dict[str, Any]:
    packing = "packed" if spec.training.packing else "unpacked"
    keys: dict[str, Any] = {}
    for name in (spec.method, spec.adapter.kind, packing, machine_class):
        file = templates_folder() / f"{name}.yaml"
        keys |= read_yaml(file.read_bytes(), file.name).value or {}
    return keys


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
    return keys


def _training(training: Training, figures: Schedule) -> dict[str, Any]:
    keys: dict[str, Any] = {
        "seed": training.seed,
        "sequence_len": training.sequence_len,
        "micro_batch_size": figures.micro_batch_size,
        "gradient_accumulation_steps": figures.accumulation,
        "num_epochs": training.epochs,
        "max_steps": figures.max_steps,
        "learning_rate": training.learning_rate,
        "lr_scheduler": training.scheduler,
        "warmup_steps": figures.warmup_steps,
        "warmup_ratio": training.warmup_ratio if figures.warmup_steps is None else None,
        "weight_decay": training.weight_decay,
        "max_grad_norm": training.max_grad_norm,
        "save_steps": figures.save_steps,
    }
    return {key: value for key, value in keys.items() if value is not None}


def _held_out(spec: Spec, keys: Mapping[str, Any], figures: Schedule) -> dict[str, Any]:
    """The dataset that evaluation runs on, read in the same way as the one for training."""
    if figures.eval_steps is None:
        return {}
    dataset = {**keys["datasets"][0], "path": "dataset/validation.parquet", "split": "train"}
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


def _data_faults(spec: Spec, facts: DatasetFacts, figures: Schedule) -> list[Fault]:
    if facts.rows < 1:
        return [Fault("no row is left to train on", "look at what the checks dropped", path="dataset.source")]
    held_out, training = spec.dataset.validation, spec.training
    if held_out is not None and facts.validation_rows < 1:
        fix = "hold out a larger share, or leave validation out"
        return [Fault("no row is held out", fix, path="dataset.validation", value=shown(held_out))]
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
        f"# {spec.name}: {json.dumps(spec.base_model)} on dataset {facts.digest}\n"
        f"# Rendered by axo-orchestrator {__version__} for axolotl {AXOLOTL_VERSION}; "
        "runs in a folder that holds `model` and `dataset`.\n\n"
    )
