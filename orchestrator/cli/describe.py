"""`axo describe`: everything about one run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.connection import connected
from orchestrator.cli.output import columns, fields, output_option, print_data, table, wrapped
from orchestrator.cli.shown import course, estimate_rows, next_commands, state_fields, summary
from orchestrator.cli.units import elapsed, moment, often

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.wire import Attempt, Event, RunDetail

_UPLOADED = re.compile(r"upload://([0-9a-f]{12})[0-9a-f]*/(.+)")
_METRICS = {
    "eval_loss": "validation loss",
    "learning_rate": "learning rate",
    "grad_norm": "gradient norm",
    "tokens_per_second": "tokens/s",
}


@click.command("describe")
@click.argument("name", metavar="NAME", type=RUN)
@output_option("table", "json", "yaml")
def command(name: str, form: str) -> None:
    """Tell everything about the run NAME: spec, data, metrics, attempts, history, what to do next.

    \b
    Examples:
      axo describe support-triage
      axo describe support-triage-x7k2p -o yaml
    """
    with connected(looking=True) as client:
        run = client.run(name)
        if form == "table":
            click.echo("\n\n".join(_sections(client, run)))
        else:
            print_data(_plain(client, run), form)


def _plain(client: Client, run: RunDetail) -> dict[str, Any]:
    return {
        **summary(run),
        "spec": run.spec,
        "facts": run.facts,
        "attempt_history": [attempt.model_dump(mode="json") for attempt in client.attempts(run.id)],
        "events": [event.model_dump(mode="json") for event in client.events(run.id)],
        "next": list(next_commands(run, published=bool(run.published))),
    }


def _sections(client: Client, run: RunDetail) -> Iterable[str]:
    yield fields(state_fields(client, run))
    yield _titled("Spec", fields(_spec(run.spec), indent=2))
    if data := _dataset(run.facts):
        yield _titled("Dataset", fields(data, indent=2))
    if metrics := _metrics(client, run):
        yield _titled("Metrics", fields(metrics, indent=2))
    if foreseen := estimate_rows(run):
        yield _titled("Estimate", table(foreseen, indent=2))
    if attempts := client.attempts(run.id):
        yield _titled("Attempts", _attempts(attempts, ended=run.status.final))
    events = [_event(event) for event in client.events(run.id)]
    yield _titled("History", table(events, indent=2, spare=("REASON",)))
    yield _titled("Next", _next(next_commands(run, published=bool(run.published))))


def _titled(title: str, text: str) -> str:
    return f"{click.style(title, bold=True)}\n{text}"


def _spec(spec: Mapping[str, Any]) -> dict[str, str | None]:
    training, adapter = spec["training"], spec["adapter"]
    steps = f", {training['max_steps']} steps at most" if training.get("max_steps") else ""
    return {
        "source": source_line(spec["dataset"]["source"]),
        "validation": source_line(spec["dataset"]["validation"]) if spec["dataset"]["validation"] else None,
        "mapping": next((kind for kind, value in spec["mapping"].items() if value and kind != "where"), None),
        "method": f"{_kind(spec['method'])}, {_adapter(adapter)}",
        "training": f"{training['epochs']:g} epochs{steps}, batch {training['batch_size']}, "
        f"{training['sequence_len']} tokens{', packed' if training['packing'] else ''}",
        "schedule": f"{training['learning_rate']:g}, {training['scheduler']}, seed {training['seed']}",
        "machine": spec["compute"]["machine"],
        "axolotl": ", ".join(f"{key}={value}" for key, value in spec["axolotl"].items()) or None,
    }


def source_line(source: Any) -> str:
    """A source as one line: a path, or the paths of several entries."""
    if isinstance(source, Mapping):
        return source_line(source.get("source"))
    if isinstance(source, list):
        return ", ".join(map(source_line, source))
    uploaded = _UPLOADED.fullmatch(str(source))
    return f"{uploaded[2]} (uploaded, {uploaded[1]})" if uploaded else str(source)


def _kind(method: Any) -> str:
    return str(method.get("kind")) if isinstance(method, Mapping) else str(method)


def _adapter(adapter: Mapping[str, Any]) -> str:
    if adapter["kind"] == "full":
        return "all weights"
    return f"{adapter['kind']} of rank {adapter['r']}, alpha {adapter['alpha']}"


def _dataset(facts: Mapping[str, Any]) -> dict[str, str | None]:
    if "dataset_facts" not in facts:
        return {}
    found = facts["dataset_facts"]
    return {
        "rows": f"{found['rows']:,}, {found['validation_rows']:,} held out",
        "tokens": f"{found['tokens']:,} an epoch, {found['trained_tokens']:,} of them trained",
        "longest": f"{found['longest']:,} tokens",
        "digest": facts.get("dataset"),
    }


def _metrics(client: Client, run: RunDetail) -> dict[str, str | None]:
    found = client.metrics(run.id, *_METRICS)
    return {told: course(found[key]) for key, told in _METRICS.items() if found[key]}


def _attempts(attempts: Sequence[Attempt], *, ended: bool) -> str:
    """A line for each; one without a word of its own that is not the last was killed."""
    over = attempts if ended else attempts[:-1]
    rows = [
        {
            "ATTEMPT": str(attempt.number),
            "STEP": attempt.step,
            "STARTED": moment(attempt.started),
            "TOOK": elapsed(attempt.started, attempt.ended),
            "FROM": str(attempt.resumed_from or ""),
            "TO": str(attempt.reached or ""),
            "LOST": str(attempt.lost_steps or ""),
            "END": attempt.cause or attempt.result or ("killed" if attempt in over else ""),
        }
        for attempt in attempts
    ]
    return table(rows, indent=2, spare=("STARTED", "TOOK", "LOST"))


def _event(event: Event) -> dict[str, str]:
    message = " ".join([*event.message.split(), often(event)]).strip()
    return {
        "TIME": moment(event.time),
        "STATUS": event.status,
        "REASON": event.reason or "",
        "MESSAGE": message,
    }


def _next(commands: Mapping[str, str]) -> str:
    width = max(map(len, commands))
    if width + 40 > columns():
        return "\n".join(f"  {line}\n      {wrapped(told, 6)}" for line, told in commands.items())
    return "\n".join(f"  {line.ljust(width)}   {wrapped(told, width + 5)}" for line, told in commands.items())
