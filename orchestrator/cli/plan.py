"""`axo plan`: what a run of a spec would do and need, without doing it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.connection import connected, proving_settings, read_spec
from orchestrator.cli.output import fields, note, output_option, print_data
from orchestrator.cli.plan_diff import NEWEST, described, diff_option
from orchestrator.cli.units import count, size, time_line
from orchestrator.errors import Fault, SpecError

if TYPE_CHECKING:
    from orchestrator.estimate import Estimate
    from orchestrator.preview import Preview


@click.command("plan")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--config", "only_config", is_flag=True, help="Print the Axolotl YAML alone.")
@diff_option("Show what changed since RUN, or the newest run of this name.")
@click.option("--strict", is_flag=True, help="Refuse a plan that does not fit into the machine's memory.")
@output_option("table", "json", "yaml")
def command(spec: Path, only_config: bool, against: str | None, strict: bool, form: str) -> None:
    """Show what a run of SPEC would do: data, steps, memory, time, price, what is published.

    \b
    Examples:
      axo plan spec.yaml
      axo plan spec.yaml --diff
      axo plan spec.yaml --config > axolotl.yaml
    """
    from orchestrator.preview import preview
    from orchestrator.service.checks import check_machine, with_earlier_adapter

    settings = proving_settings()
    loaded = read_spec(spec)
    check_machine(loaded, settings)
    planned = preview(with_earlier_adapter(loaded, settings, loaded.path.parent), settings)
    if strict:
        _refuse_unfit(planned)
    if only_config:
        click.echo(planned.config.text, nl=False)
    elif against is not None:
        _print_changes(planned, against, form)
    elif form == "table":
        click.echo(_described(planned))
        note("`--config` prints the Axolotl YAML, `--diff` what changed since the newest run")
    else:
        print_data(planned.to_dict(), form)


def _refuse_unfit(planned: Preview) -> None:
    if planned.estimate is None or planned.estimate.fits is not False:
        return
    fix = "; or ".join(remedy.told() for remedy in planned.remedies) or "take a smaller base model"
    fault = Fault(
        f"it would not fit: {_memory_line(planned.estimate)}",
        fix,
        path="compute.machine",
        value=planned.machine.name,
    )
    from orchestrator.spec.load import with_places

    raise SpecError(with_places(planned.loaded, [fault]))


def _print_changes(planned: Preview, against: str, form: str) -> None:
    from orchestrator.changes import Foreseen, changes

    loaded, estimate = planned.loaded, planned.estimate
    now = Foreseen(
        loaded.spec.model_dump(mode="json"),
        planned.splits,
        planned.config.keys,
        estimate.to_dict() if estimate else None,
    )
    with connected() as client:
        run = client.run(loaded.spec.name if against == NEWEST else against)
        config = client.config(run.id) if "estimate" in run.facts else None
    found = changes(now, run.spec, run.facts, config)
    if form == "table":
        click.echo(described(loaded.path, run, found))
    else:
        print_data({"run": run.id, "changes": found}, form)


def _described(planned: Preview) -> str:
    parts = [fields(_run_fields(planned)), fields(_data_fields(planned))]
    if planned.estimate:
        parts.append(fields(_need_fields(planned.estimate, planned)))
    if planned.estimate and planned.estimate.fits is False:
        parts.append(_unfit(planned))
    return "\n\n".join(parts)


def _run_fields(planned: Preview) -> dict[str, str | None]:
    spec, config = planned.loaded.spec, planned.config
    kind = spec.adapter.kind
    rank = f", r {spec.adapter.r}" if kind != "full" else ""
    devices = f" ({planned.machine.devices} devices)" if planned.machine.devices > 1 else ""
    share = f" x {planned.machine.devices} devices" if devices else ""
    return {
        "run": spec.name,
        "base model": _model_line(planned),
        "method": f"{spec.method}, {kind}{rank}",
        "machine": f"{planned.machine.name}{devices}",
        "batch": f"{config.micro_batch_size} at once x {config.accumulation} accumulated{share}",
        "checkpoints": _checkpoints(planned),
        "evaluation": f"every {config.eval_steps} steps" if config.eval_steps else "none while training",
        "publishes": ", ".join(planned.publishes) or "nothing",
    }


def _model_line(planned: Preview) -> str:
    name = planned.loaded.spec.model
    if planned.estimate is None:
        return f"{name}, of a kind whose needs are not known"
    whole, trained = planned.estimate.parameters, planned.estimate.trainable
    return f"{name}, {count(whole)} parameters, {count(trained)} trained ({trained / whole:.2%})"


def _checkpoints(planned: Preview) -> str:
    """How often: by time, or by steps where the spec or early stopping says so."""
    if planned.config.save_steps:
        return f"every {planned.config.save_steps} steps"
    return f"every {(planned.loaded.spec.training.checkpoint_seconds or 0) / 60:g} minutes"


def _data_fields(planned: Preview) -> dict[str, str | None]:
    train, held_out = planned.splits["train"], planned.splits.get("validation")
    dropped = sum((planned.found.dropped or {}).values())
    steps = f"{planned.steps:,}" if planned.config.steps else f"about {planned.steps:,}"
    return {
        "rows": f"{train['rows']:,}"
        + (f", {held_out['rows']:,} held out" if held_out else "")
        + (f", {dropped:,} left out" if dropped else ""),
        "tokens": f"{train['tokens']:,} an epoch, {train['trained_tokens']:,} of them trained",
        "steps": steps + (f", {planned.estimate.padding:.0%} padding" if planned.estimate else ""),
    }


def _need_fields(foreseen: Estimate, planned: Preview) -> dict[str, str | None]:
    memory = foreseen.memory
    parts = (
        ("weights", memory.weights),
        ("gradients", memory.gradients),
        ("optimizer", memory.optimizer),
        ("activations", memory.activations),
        ("framework", memory.overhead),
    )
    each = " on each device" if planned.machine.devices > 1 else ""
    rate = f"{foreseen.rate.tokens_per_second:,.0f} tokens/s"
    hours = f"{foreseen.device_hours:,.2f} device hours" if planned.machine.device == "gpu" else None
    price = None if foreseen.price is None else f"{foreseen.price:,.2f}"
    return {
        "memory": f"{_memory_line(foreseen)}{each}\n" + ", ".join(f"{name} {size(v)}" for name, v in parts),
        "time": f"{time_line(foreseen.seconds, foreseen.seconds_at_most)} at {rate}, {foreseen.rate.told}",
        "cost": ", ".join(part for part in (hours, price) if part) or None,
        "size": f"adapter {size(foreseen.adapter_bytes)}, checkpoint {size(foreseen.checkpoint_bytes)}",
    }


def _memory_line(foreseen: Estimate) -> str:
    """`71 of 80 GiB`, or what is needed alone where the machine's memory is not known."""
    if foreseen.memory_limit is None:
        return (
            f"{size(foreseen.memory.total)}; what the machine has is not known (memory_gib in the settings)"
        )
    return f"{size(foreseen.memory.total)} of {size(foreseen.memory_limit)}"


def _unfit(planned: Preview) -> str:
    lines = [f"  {remedy.told()}" for remedy in planned.remedies]
    told = lines or ["  no setting of the spec makes it fit: take a smaller base model or a larger machine"]
    return "\n".join([click.style("does not fit; any of these would:", fg="yellow"), *told])
