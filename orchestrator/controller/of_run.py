"""What a run's row leads to: its folder in storage, its spec, the machine of a step."""

from __future__ import annotations

from orchestrator import contract
from orchestrator.db import Run
from orchestrator.settings import Machine, Settings
from orchestrator.spec.models import Spec


def run_store(run: Run) -> contract.Store:
    """The run's folder in storage."""
    return contract.open_run(run.storage, run.id)


def spec_of(run: Run) -> Spec:
    return Spec.model_validate(dict(run.spec))


def machine_of(settings: Settings, spec: Spec, step: contract.StepKind) -> Machine:
    """The machine a step runs on; preparing needs no more than the processor."""
    return settings.machines["cpu" if step == "prepare" else spec.compute.machine]
