"""`axo plan`: what a run of a spec would do, without doing it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.output import fields, output_option, print_data
from orchestrator.errors import SpecError

if TYPE_CHECKING:
    from orchestrator.axolotl.render import Config
    from orchestrator.estimate.model import Model
    from orchestrator.settings import Settings
    from orchestrator.spec.load import Loaded
    from orchestrator.steps.prepare import Inspection


@click.command("plan")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--config", "only_config", is_flag=True, help="Print the Axolotl YAML alone.")
@output_option("table", "json", "yaml")
def command(spec: Path, only_config: bool, form: str) -> None:
    """Show what a run of SPEC would do: its Axolotl config, steps, tokens, what will be published.

    \b
    Examples:
      axo plan spec.yaml
      axo plan spec.yaml --config > axolotl.yaml
    """
    from orchestrator.service import check_machine, with_earlier_adapter
    from orchestrator.settings import Settings
    from orchestrator.spec.load import load_spec

    settings = Settings.from_environment()
    loaded = load_spec(spec)
    check_machine(loaded, settings)
    loaded = with_earlier_adapter(loaded, settings)
    planned = _planned(loaded, settings)
    if only_config:
        click.echo(planned.config.text, nl=False)
    elif form == "table":
        click.echo(_described(planned))
    else:
        print_data(_plain(planned), form)


@dataclass(frozen=True)
class _Planned:
    loaded: Loaded
    found: Inspection
    config: Config
    model: Model | None
    steps: int
    exact: bool


def _planned(loaded: Loaded, settings: Settings) -> _Planned:
    """Raises SpecError with every fault of spec, base model, data and config."""
    from orchestrator.axolotl.render import DatasetFacts
    from orchestrator.data.prepare import facts_of
    from orchestrator.estimate.model import read_model
    from orchestrator.plan import config_for
    from orchestrator.service import inspect
    from orchestrator.spec.load import with_places
    from orchestrator.staging import resolve_model

    found = inspect(loaded, settings)
    if found.faults or found.splits is None or found.forecast is None:
        raise SpecError(with_places(loaded, found.faults), hint=f"`axo check {loaded.path}` shows more")
    facts = DatasetFacts(**facts_of(found.splits, "not prepared yet"))
    try:
        config = config_for(loaded.spec, facts, settings.machines[loaded.spec.compute.machine])
    except SpecError as error:
        raise SpecError(with_places(loaded, error.faults)) from error
    exact = config.steps is not None
    model = read_model(resolve_model(loaded.spec.base_model, loaded.path.parent).folder)
    return _Planned(loaded, found, config, model, config.steps or found.forecast.steps, exact)


def _described(planned: _Planned) -> str:
    config, train = planned.config, planned.found.splits["train"]  # type: ignore[index]
    batch = f"{config.micro_batch_size} at once x {config.accumulation} accumulated"
    evaluation = f"every {config.eval_steps} steps" if config.eval_steps else "none while training"
    summary = fields(
        {
            "run": planned.loaded.spec.name,
            "base model": planned.loaded.spec.base_model,
            "parameters": _parameters(planned),
            "machine": planned.loaded.spec.compute.machine,
            "rows": f"{train['rows']:,}",
            "tokens": f"{train['tokens']:,} an epoch, {train['trained_tokens']:,} of them trained",
            "steps": f"{'' if planned.exact else 'about '}{planned.steps:,}",
            "batch": batch,
            "checkpoints": _checkpoints(planned),
            "evaluation": evaluation,
            "publishes": ", ".join(_targets(planned.loaded)) or "nothing",
        }
    )
    return f"{summary}\n\n--- axolotl.yaml\n{config.text}".rstrip()


def _checkpoints(planned: _Planned) -> str:
    """How often: by time, or by steps where the spec or early stopping says so."""
    if planned.config.save_steps:
        return f"every {planned.config.save_steps} steps"
    return f"every {(planned.loaded.spec.training.checkpoint_seconds or 0) / 60:g} minutes"


def _parameters(planned: _Planned) -> str | None:
    from orchestrator.estimate.trainable import trainable_parameters

    if planned.model is None:
        return None
    trained, whole = trainable_parameters(planned.model, planned.config.keys), planned.model.parameters
    return f"{whole:,}, {trained:,} of them trained ({trained / whole:.2%})"


def _plain(planned: _Planned) -> dict[str, Any]:
    config = planned.config
    return {
        "name": planned.loaded.spec.name,
        "spec_digest": planned.loaded.digest,
        "splits": planned.found.splits,
        "forecast": asdict(planned.found.forecast) if planned.found.forecast else None,
        "steps": planned.steps,
        "steps_exact": planned.exact,
        "micro_batch_size": config.micro_batch_size,
        "accumulation": config.accumulation,
        "save_steps": config.save_steps,
        "eval_steps": config.eval_steps,
        "publish": _targets(planned.loaded),
        "config": dict(config.keys),
        "config_text": config.text,
    }


def _targets(loaded: Loaded) -> list[str]:
    """Where the adapter will be published, as registries name it."""
    return [
        f"models:/{target.mlflow.model}" + (f"@{target.mlflow.alias}" if target.mlflow.alias else "")
        for target in loaded.spec.publish
    ]
