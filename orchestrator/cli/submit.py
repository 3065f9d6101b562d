"""`axo submit`: hand a spec to the service, which sees to the rest."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.connection import connected, read_spec
from orchestrator.cli.follow import conclude, follow, leave
from orchestrator.cli.output import fields, note, output_option, print_data
from orchestrator.cli.plan_diff import NEWEST, described, diff_option
from orchestrator.cli.sending import planned, submitted
from orchestrator.cli.units import size, time_line
from orchestrator.errors import BackendError

if TYPE_CHECKING:
    from orchestrator.wire import Plan


@click.command("submit")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("-w", "--watch", is_flag=True, help="Follow it to its end; its exit code is the run's.")
@click.option("--dry-run", is_flag=True, help="Show what it would be, and start nothing.")
@diff_option("With --dry-run: what changed since RUN, or the newest of this name.")
@click.option("--timeout", type=click.FloatRange(0), help="Watch for this many minutes at most (124).")
@output_option("table", "json", "yaml", "name")
def command(
    spec: Path, watch: bool, dry_run: bool, against: str | None, timeout: float | None, form: str
) -> None:
    """Submit SPEC as a new run.

    A service elsewhere gets the spec as it is written, its mappings, and the files that it names;
    what was sent before is not sent again.

    \b
    Examples:
      axo submit spec.yaml --watch
      axo submit spec.yaml -o name
      axo submit spec.yaml --dry-run --diff
    """
    if against and not dry_run:
        raise click.UsageError("--diff tells what would be submitted: give --dry-run too")
    loaded = read_spec(spec)
    with connected(driving=watch) as client:
        if dry_run:
            plan = planned(client, loaded, loaded.spec.name if against == NEWEST else against)
            _show(plan, form)
            if plan.against and form == "table":
                click.echo(f"\n{described(spec, client.run(plan.against), plan.changes)}")
            if plan.refused:
                raise BackendError(f"it could not be launched now: {plan.refused}")
            return
        run = submitted(client, loaded)
        note(f"{run.id}: submitted")
        if watch:
            sys.exit(follow(client, run, form, timeout=timeout))
        leave(client, run)
        conclude(client, run, form)


def _show(plan: Plan, form: str) -> None:
    if form == "name":
        click.echo(plan.name)
    elif form != "table":
        print_data(plan.model_dump(mode="json"), form)
    else:
        click.echo(fields(_lines(plan)))
        note("nothing was started; `-o yaml` shows config and launch too")


def _lines(plan: Plan) -> dict[str, str | None]:
    train = plan.splits["train"]
    held_out = plan.splits.get("validation")
    about = "" if plan.steps_exact else "about "
    return {
        "run": plan.name,
        "rows": f"{train['rows']:,}" + (f", {held_out['rows']:,} held out" if held_out else ""),
        "tokens": f"{train['tokens']:,} an epoch, {train['trained_tokens']:,} of them trained",
        "steps": f"{about}{plan.steps:,}",
        "batch": f"{plan.micro_batch_size} at once x {plan.accumulation} accumulated",
        **_needs(plan.estimate or {}),
        "to fit": "; ".join(_remedy(each) for each in plan.remedies) or None,
        "publishes": ", ".join(plan.publish) or "nothing",
    }


def _needs(estimate: Mapping[str, Any]) -> dict[str, str | None]:
    """Memory, time and price, as far as they are known."""
    if not estimate:
        return {}
    needed, limit = size(estimate["memory_bytes"]["total"]), estimate.get("memory_limit_bytes")
    price = estimate.get("price")
    told = time_line(estimate["seconds"], estimate.get("seconds_at_most"))
    return {
        "memory": f"{needed} of {size(limit)}" if limit else needed,
        "time": f"{told} at {estimate['tokens_per_second']:,.0f} tokens/s",
        "price": None if price is None else f"{price:,.2f}",
    }


def _remedy(remedy: Mapping[str, Any]) -> str:
    changes = ", ".join(f"{name}: {value}" for name, value in remedy["fields"].items())
    return f"{changes} ({size(remedy['needs_bytes'])})"
