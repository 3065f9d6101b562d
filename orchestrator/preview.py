"""What a run of a spec would be, without doing it: its data, its config, its estimate, what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from orchestrator.axolotl.render import Config, DatasetFacts
from orchestrator.data.prepare import facts_of
from orchestrator.errors import SpecError
from orchestrator.estimate import Estimate, estimate
from orchestrator.estimate.fit import Remedy, remedies
from orchestrator.estimate.model import read_model
from orchestrator.estimate.speed import Rate
from orchestrator.estimate.workload import Lengths
from orchestrator.machines import Machine
from orchestrator.plan import config_for
from orchestrator.service.checks import inspect
from orchestrator.settings import Settings
from orchestrator.spec.load import Loaded, with_places
from orchestrator.staging import resolve_model
from orchestrator.steps.prepare import Inspection


@dataclass(frozen=True)
class Preview:
    """A run foreseen. `estimate` is None where the base model is of a kind whose shapes are not known;
    `remedies` are what to change where it does not fit, and empty where it does."""

    loaded: Loaded
    machine: Machine
    found: Inspection
    config: Config
    estimate: Estimate | None
    remedies: tuple[Remedy, ...]

    @property
    def splits(self) -> Mapping[str, Mapping[str, Any]]:
        return self.found.splits or {}

    @property
    def steps(self) -> int:
        return self.config.steps or (self.found.forecast.steps if self.found.forecast else 0)

    @property
    def publishes(self) -> list[str]:
        """Where the adapter will be published, as registries name it."""
        return [
            f"models:/{target.mlflow.model}" + (f"@{target.mlflow.alias}" if target.mlflow.alias else "")
            for target in self.loaded.spec.publish
        ]

    def to_dict(self) -> dict[str, Any]:
        """As plain data; the schema of `axo plan -o json`."""
        return {
            "name": self.loaded.spec.name,
            "spec_digest": self.loaded.digest,
            "splits": self.splits,
            "forecast": asdict(self.found.forecast) if self.found.forecast else None,
            "steps": self.steps,
            "steps_exact": self.config.steps is not None,
            "micro_batch_size": self.config.micro_batch_size,
            "accumulation": self.config.accumulation,
            "save_steps": self.config.save_steps,
            "eval_steps": self.config.eval_steps,
            "estimate": self.estimate.to_dict() if self.estimate else None,
            "remedies": [{"fields": dict(r.fields), "needs_bytes": r.needs} for r in self.remedies],
            "publish": self.publishes,
            "config": dict(self.config.keys),
            "config_text": self.config.text,
        }


def preview(loaded: Loaded, settings: Settings, project: str = "default") -> Preview:
    """What a run of a spec would be on its machine, as a run of a project.

    Raises:
        SpecError: with every fault of spec, base model, data and config.
    """
    spec, machine = loaded.spec, settings.machines[loaded.spec.compute.machine]
    found = inspect(loaded, settings)
    if found.faults or found.splits is None or found.forecast is None:
        raise SpecError(with_places(loaded, found.faults), hint=f"`axo check {loaded.path}` shows more")
    facts = DatasetFacts(**facts_of(found.splits, "not prepared yet"))
    try:
        config = config_for(spec, facts, machine)
        folder = resolve_model(spec.model, loaded.path.parent, spec.model_secret, chat=False).folder
        model = read_model(folder)
    except SpecError as error:
        raise SpecError(with_places(loaded, error.faults)) from error
    if model is None:
        return Preview(loaded, machine, found, config, None, ())
    lengths = Lengths.of_split(found.splits["train"])
    steps, exact = config.steps or found.forecast.steps, config.steps is not None
    measured = _measured_rate(loaded, machine, settings, project)
    foreseen = estimate(
        model, config.keys, lengths, machine, steps=steps, steps_exact=exact, measured=measured
    )
    changes = (
        ()
        if foreseen.fits is not False
        else remedies(model, config.keys, lengths, machine, settings.machines)
    )
    return Preview(loaded, machine, found, config, foreseen, tuple(changes))


def _measured_rate(loaded: Loaded, machine: Machine, settings: Settings, project: str) -> Rate | None:
    """What the project's earlier runs measured; without a database none is opened, nor made."""
    from orchestrator.controller.estimates import measured_rate
    from orchestrator.db import is_there, opened

    if not is_there(settings.database_url):
        return None
    with opened(settings.database_url) as database:
        return measured_rate(database, project, loaded.spec.model_dump(mode="json"), machine)
