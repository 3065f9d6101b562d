"""`axo machines`: the catalogue of machines that a spec may name."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orchestrator.cli.connection import connected, spoken_to
from orchestrator.cli.output import output_option, print_data, table

if TYPE_CHECKING:
    from orchestrator.machines import Machine


@click.command("machines")
@output_option("table", "wide", "json", "yaml", "name")
def command(form: str) -> None:
    """List the machines that `compute.machine` of a spec may name.

    `cpu` and `gpu` are there by themselves; the operator's settings file adds others, or
    replaces these (`axo schema settings` describes it).

    \b
    Examples:
      axo machines
      axo machines -o wide
    """
    machines = _known()
    if form == "name":
        for machine in machines:
            click.echo(machine.name)
    elif form in ("json", "yaml"):
        print_data([asdict(machine) for machine in machines], form)
    else:
        rows = [_row(machine) for machine in machines]
        told = [head for head in rows[0] if form == "wide" or any(row[head] for row in rows)]
        shown = [{head: row[head] for head in told} for row in rows]
        click.echo(table(shown, width=10_000 if form == "wide" else None, keep_first=True))


def _known() -> list[Machine]:
    """Those of the service that commands speak to; those of this machine need no service to be opened."""
    from orchestrator.machines import Machine
    from orchestrator.settings import Settings

    if spoken_to().url is None:
        return list(Settings.from_environment().machines.values())
    with connected() as client:
        return [Machine(**machine.model_dump()) for machine in client.machines()]


def _row(machine: Machine) -> dict[str, str]:
    return {
        "NAME": machine.name,
        "DEVICE": machine.device,
        "COUNT": str(machine.devices),
        "GPU": machine.gpu or "",
        "GIB": _number(machine.memory_gib),
        "PRICE/H": _number(machine.price_per_hour),
        "TOKENS/S": _number(machine.tokens_per_second),
        "NODES": ",".join(f"{key}={value}" for key, value in machine.node_selector.items()),
        "ABOUT": machine.sentence,
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,g}"
