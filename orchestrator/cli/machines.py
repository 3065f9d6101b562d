"""`axo machines`: the catalogue of machines that a spec may name."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orchestrator.cli.connection import connected, spoken_to
from orchestrator.cli.output import output_option, print_list

if TYPE_CHECKING:
    from orchestrator.machines import Machine

_HEADS = ("NAME", "DEVICE", "COUNT", "GPU", "GIB", "PRICE/H", "TOKENS/S", "NODES", "ABOUT")


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
    rows = {machine.name: _row(machine) for machine in machines}
    told = [head for head in _HEADS if form == "wide" or any(row[head] for row in rows.values())]
    print_list(
        machines,
        form,
        name=lambda machine: machine.name,
        data=asdict,
        row=lambda machine: {head: rows[machine.name][head] for head in told},
        keep_first=True,
    )


def _known() -> list[Machine]:
    """Those of the service that commands speak to; those of this machine need no service to be opened."""
    from orchestrator.machines import Machine
    from orchestrator.settings import Settings

    if spoken_to().url is None:
        return list(Settings.from_environment().machines.values())
    with connected() as client:
        return [Machine(**machine.model_dump()) for machine in client.machines()]


def _row(machine: Machine) -> dict[str, str]:
    cells = (
        machine.name,
        machine.device,
        str(machine.devices),
        machine.gpu or "",
        _number(machine.memory_gib),
        _number(machine.price_per_hour),
        _number(machine.tokens_per_second),
        ",".join(f"{key}={value}" for key, value in machine.node_selector.items()),
        machine.sentence,
    )
    return dict(zip(_HEADS, cells, strict=True))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,g}"
