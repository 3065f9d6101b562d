"""`axo get`: list runs, or show one."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.output import age, duration, fields, note, output_option, print_data, sparkline, table

if TYPE_CHECKING:
    from orchestrator.db import Event, Point, Run
    from orchestrator.service import Service


@click.command("get")
@click.argument("name", required=False)
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Runs to list.")
@click.option(
    "--curve",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also draw NAME's losses into this SVG file.",
)
@output_option("table", "json", "yaml", "name")
def command(name: str | None, limit: int, curve: Path | None, form: str) -> None:
    """List runs, or show the run NAME (its id, or the newest of a spec's name).

    \b
    Examples:
      axo get
      axo get support-triage -o json
    """
    from orchestrator.service import Service
    from orchestrator.settings import Settings

    with Service(Settings.from_environment()) as service:
        if curve is not None:
            _draw(service, name, curve)
        if name is not None:
            _show(service, name, form)
        else:
            _list(service, limit, form)


def _draw(service: Service, name: str | None, file: Path) -> None:
    from orchestrator.cli.curve import curve_svg

    if name is None:
        raise click.UsageError("--curve draws the losses of one run: give its NAME")
    run = service.database.run(name)
    keys = {"training loss": "loss", "validation loss": "eval_loss"}
    series = {
        told: [(point.step, point.value) for point in service.database.points(run.id, key)]
        for told, key in keys.items()
    }
    file.write_text(curve_svg(f"{run.id} on {run.spec['base_model']}", series))
    note(f"drew {file}")


def _list(service: Service, limit: int, form: str) -> None:
    runs = service.database.runs(limit)
    if form == "name":
        for run in runs:
            click.echo(run.id)
    elif form != "table":
        print_data([summary(service, run) for run in runs], form)
    elif not runs:
        click.echo("no runs yet; `axo run spec.yaml` starts one", err=True)
    else:
        click.echo(table([_row(service, run) for run in runs]))


def _row(service: Service, run: Run) -> dict[str, str]:
    newest, progress = _progress(service, run)
    return {
        "NAME": run.id,
        "STATUS": run.status.value,
        "REASON": run.reason.value if run.reason else "",
        "STEP": progress or "",
        "LOSS": f"{newest.value:.4f}" if newest else "",
        "AGE": age(time.time() - run.created),
    }


def _progress(service: Service, run: Run) -> tuple[Point | None, str | None]:
    """The newest loss, and `step/total`; None before the first step."""
    newest = service.database.newest_point(run.id, "loss")
    total = max((a.total_steps or 0 for a in service.database.attempts(run.id)), default=0)
    return newest, f"{newest.step}/{total}" if newest else None


def _show(service: Service, name: str, form: str) -> None:
    run = service.database.run(name)
    if form == "name":
        click.echo(run.id)
        return
    facts = summary(service, run)
    if form != "table":
        print_data(facts, form)
        return
    click.echo(_described(service, run, facts))


def _described(service: Service, run: Run, facts: dict[str, Any]) -> str:
    losses = [point.value for point in service.database.points(run.id, "loss")]
    reason = f"{run.reason.value}: {facts['advice']}" if run.reason else None
    parts = [
        fields(
            {
                "name": run.id,
                "status": run.status.value,
                "reason": reason,
                "message": run.message or None,
                "base model": facts["base_model"],
                "progress": facts["progress"],
                "loss": f"{losses[0]:.4f} to {losses[-1]:.4f}  {sparkline(losses, 40)}" if losses else None,
                "attempts": str(facts["attempts"]) if facts["attempts"] else None,
                "lost steps": str(run.lost_steps) if run.lost_steps else None,
                "took": duration(run.ended - run.created) if run.ended else None,
                "mlflow": run.mlflow_url,
                **_scores(facts["evaluation"]),
                **{f"published {i + 1}": p["reference"] for i, p in enumerate(facts["published"])},
            }
        ),
        "",
        table([_event_row(event) for event in service.database.events(run.id)]),
    ]
    return "\n".join(parts)


def describe_end(service: Service, run: Run) -> str:
    """What `axo run` says at the end: the result first, and what to do where there is none."""
    facts = summary(service, run)
    shown = _described(service, run, facts).split("\n\n")[0]
    return shown if run.status == "succeeded" else f"{shown}\nlogs:  axo logs {run.id}"


def _scores(evaluation: dict[str, Any] | None) -> dict[str, str]:
    if not evaluation:
        return {}
    base, adapter = evaluation["base"], evaluation["adapter"]
    return {
        "exact match": f"base {base['exact_match']:.1%}, adapter {adapter['exact_match']:.1%}",
        "held-out loss": f"base {base['loss']:.4f}, adapter {adapter['loss']:.4f}",
    }


def _event_row(event: Event) -> dict[str, str]:
    return {
        "TIME": datetime.fromtimestamp(event.time, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "STATUS": event.status,
        "REASON": event.reason or "",
        "MESSAGE": event.message[:40],
    }


def summary(service: Service, run: Run) -> dict[str, Any]:
    """One run as plain data; the schema of `-o json`."""
    from orchestrator.runs import REASONS

    attempts = service.database.attempts(run.id)
    newest, progress = _progress(service, run)
    return {
        "id": run.id,
        "name": run.name,
        "status": run.status.value,
        "intent": run.intent.value,
        "reason": run.reason.value if run.reason else None,
        "advice": REASONS[run.reason].advice if run.reason else None,
        "message": run.message or None,
        "created": run.created,
        "ended": run.ended,
        "base_model": run.spec["base_model"],
        "progress": progress,
        "loss": newest.value if newest else None,
        "attempts": sum(1 for a in attempts if a.started is not None),
        "lost_steps": run.lost_steps,
        "model": run.facts.get("model"),
        "dataset": run.facts.get("dataset"),
        "evaluation": run.facts.get("evaluate"),
        "mlflow": run.mlflow_url,
        "published": [
            {"registry": p.registry, "reference": p.reference, "digest": p.digest, "url": p.url}
            for p in service.database.publications(run.id)
        ],
    }
