"""Everything decided for one launch: what its program is told, and the config it trains with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.axolotl.render import Config, DatasetFacts, render
from orchestrator.contract import LaunchPlan, StepKind, Store, dataset_key, launch_key, model_key
from orchestrator.defaults import SlowTemplates
from orchestrator.machines import Machine
from orchestrator.spec.models import Spec
from orchestrator.spec.stored import base_named

CONFIG = "axolotl.yaml"


@dataclass(frozen=True)
class Prepared:
    """What the prepare step found out: digests of the staged model and of the dataset, its counts, the key of
    an earlier adapter to go on from, and the hub's commit of a model that came from there."""

    model: str
    dataset: str
    facts: DatasetFacts
    adapter: str | None = None
    revision: str | None = None

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Prepared:
        earlier = facts.get("earlier_adapter") or {}
        counts = DatasetFacts(**facts["dataset_facts"])
        return cls(facts["model"], facts["dataset"], counts, earlier.get("key"), facts.get("model_revision"))


@dataclass(frozen=True)
class Plan:
    """One launch, printable and immutable; `config` is None for a step that trains nothing."""

    launch: LaunchPlan
    config: Config | None = None

    def write(self, run: Store) -> None:
        """Put it where the launch's program reads it; writing it twice is the same."""
        folder = launch_key(self.launch.launch)
        if self.config:
            run.write(f"{folder}/{CONFIG}", self.config.text.encode())
        run.write(f"{folder}/plan.json", self.launch.to_json())


def plan_prepare(
    spec: Spec,
    base: str,
    run: str,
    launch: int,
    machine: Machine,
    slow_templates: SlowTemplates,
    uploads: str = "",
) -> Plan:
    """The CPU step that stages the model and proves the data.

    `base` is where relative paths start, empty where there are none; `uploads` the folder in storage of
    the project's uploads.
    """
    task = {
        "spec": spec.model_dump(mode="json"),
        "base": base,
        "uploads": uploads,
        "slow_templates": slow_templates,
    }
    return Plan(LaunchPlan(run, launch, "prepare", device=machine.device, task=task))


def plan_train(
    spec: Spec,
    prepared: Prepared,
    run: str,
    launch: int,
    machine: Machine,
    micro_batch_size: int | None = None,
) -> Plan:
    """The training step; a smaller micro batch keeps the effective batch by more accumulation."""
    config = config_for(spec, prepared.facts, machine, micro_batch_size)
    seconds = spec.training.checkpoint_seconds
    task = {"checkpoint_seconds": seconds} if seconds else {}
    launched = _with_inputs(spec, prepared, run, launch, "train", machine, task)
    return Plan(replace(launched, devices=machine.devices, adapter=prepared.adapter), config)


def plan_evaluate(spec: Spec, prepared: Prepared, run: str, launch: int, machine: Machine) -> Plan:
    """Base against adapter on held-out rows."""
    assert spec.evaluate is not None
    task = {
        **spec.evaluate.model_dump(mode="json"),
        "sequence_len": spec.training.sequence_len,
        "seed": spec.training.seed,
    }
    return Plan(_with_inputs(spec, prepared, run, launch, "evaluate", machine, task))


def config_for(
    spec: Spec, facts: DatasetFacts, machine: Machine, micro_batch_size: int | None = None
) -> Config:
    """The Axolotl config of a spec on a machine."""
    if micro_batch_size is not None:
        training = spec.training.model_copy(update={"micro_batch_size": micro_batch_size})
        spec = spec.model_copy(update={"training": training})
    return render(spec, machine, facts)


def _with_inputs(
    spec: Spec,
    prepared: Prepared,
    run: str,
    launch: int,
    step: StepKind,
    machine: Machine,
    task: Mapping[str, Any] | None = None,
) -> LaunchPlan:
    return LaunchPlan(
        run,
        launch,
        step,
        device=machine.device,
        model=model_key(prepared.model),
        dataset=dataset_key(prepared.dataset),
        base_model=base_named(spec.model, prepared.revision, prepared.model),
        task=task or {},
    )
