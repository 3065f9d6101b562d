"""`axo compare`: runs side by side."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from orchestrator.changes import differing, flat
from orchestrator.cli.completion import RUN
from orchestrator.cli.connection import connected
from orchestrator.cli.output import fields, note, output_option, print_data, readable, table
from orchestrator.cli.units import duration, short

if TYPE_CHECKING:
    from orchestrator.cli.picture import Picture
    from orchestrator.client import Client
    from orchestrator.wire import RunDetail

MOST_RUNS = 8
_MLFLOW_PAGE = re.compile(r"(?P<server>.+)/#/experiments/(?P<experiment>[^/]+)/runs/(?P<run>[^/?]+)$")
_DIGEST = re.compile(r"[0-9a-f]{64}")

Rows = Mapping[str, Sequence[Any]]


@click.command("compare")
@click.argument("names", type=RUN, nargs=-1, required=True, metavar="NAME NAME...")
@click.option(
    "--curve",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw their losses into this .svg or .png, or write all metrics, step by step, into this .csv.",
)
@click.option("--all", "whole", is_flag=True, help="Show what is the same in all of them too.")
@output_option("table", "json", "yaml")
def command(names: Sequence[str], curve: Path | None, whole: bool, form: str) -> None:
    """Show runs side by side: how they ended, and what differs in spec and data.

    \b
    Examples:
      axo compare support-triage-x7k2p support-triage-q3m8d
      axo compare mild-x7k2p strong-q3m8d --curve losses.png
    """
    with connected() as client:
        runs = _runs(client, names)
        if curve is not None:
            _draw(client, runs, curve)
        if form == "table":
            click.echo(_described(client, runs, whole))
        else:
            print_data(_plain(client, runs, whole), form)


def _runs(client: Client, names: Sequence[str]) -> list[RunDetail]:
    runs = {run.id: run for run in map(client.run, names)}
    if not 2 <= len(runs) <= MOST_RUNS:
        raise click.UsageError(f"it takes two to {MOST_RUNS} runs; these names are those of {len(runs)}")
    return list(runs.values())


def _described(client: Client, runs: Sequence[RunDetail], whole: bool) -> str:
    ids = [run.id for run in runs]
    sections = {
        "Result": figures(client, runs),
        "Spec": differing([flat(_spec(run)) for run in runs], whole),
        "Dataset": differing([_dataset(run) for run in runs], whole),
    }
    blocks = [
        f"{click.style(title, bold=True)}\n{_side_by_side(rows, ids) if rows else '  the same'}"
        for title, rows in sections.items()
    ]
    if url := mlflow_compare_url(runs):
        blocks.append(f"{click.style('In MLflow', bold=True)}\n  {url}")
    return "\n\n".join(blocks)


def _side_by_side(rows: Rows, ids: Sequence[str]) -> str:
    heads = short_names(ids)
    lines = [{"": key} | dict(zip(heads, map(_cell, values), strict=True)) for key, values in rows.items()]
    if readable(lines, indent=2):
        return table(lines, indent=2, keep_first=True)
    return "\n".join(f"  {line.pop('')}\n{_below(line)}" for line in lines)


def _below(line: Mapping[str, str]) -> str:
    """The runs one below the other, where they have no room beside one another."""
    return fields({head: cell or "-" for head, cell in line.items()}, indent=4)


def short_names(ids: Sequence[str]) -> list[str]:
    """The ids, or only their ends where all runs have one name."""
    names, ends = zip(*(run.rsplit("-", 1) if "-" in run else ("", run) for run in ids), strict=True)
    return [f"..-{end}" for end in ends] if len(set(names)) == 1 and names[0] else list(ids)


def _plain(client: Client, runs: Sequence[RunDetail], whole: bool) -> dict[str, Any]:
    from orchestrator.cli.shown import summary

    ids = [run.id for run in runs]

    def by_run(rows: Rows) -> dict[str, dict[str, Any]]:
        return {key: dict(zip(ids, values, strict=True)) for key, values in rows.items()}

    return {
        "runs": [summary(run) for run in runs],
        "result": by_run(figures(client, runs)),
        "spec": by_run(differing([flat(_spec(run)) for run in runs], whole)),
        "dataset": by_run(differing([_dataset(run) for run in runs], whole)),
        "mlflow": mlflow_compare_url(runs),
    }


def figures(client: Client, runs: Sequence[RunDetail]) -> Rows:
    """How each run ended: its newest metrics, scores and times; what none of them has is left out."""
    rows = {name: [figure(client, run) for run in runs] for name, figure in _FIGURES.items()}
    return {name: values for name, values in rows.items() if any(value is not None for value in values)}


def mlflow_compare_url(runs: Sequence[RunDetail]) -> str | None:
    """MLflow's page that compares these runs, where all are on one server.

    `runs` must be its first parameter: the page reads the key `?runs`.
    """
    pages = [_MLFLOW_PAGE.match(run.mlflow or "") for run in runs]
    found = [page for page in pages if page]
    if len(found) < len(runs) or len({page["server"] for page in found}) > 1:
        return None
    ids, experiments = (
        quote(json.dumps(list(dict.fromkeys(page[part] for page in found)))) for part in ("run", "experiment")
    )
    return f"{found[0]['server']}/#/compare-runs?runs={ids}&experiments={experiments}"


def _draw(client: Client, runs: Sequence[RunDetail], file: Path) -> None:
    from orchestrator.cli.steps_file import is_table, write_steps

    if is_table(file):
        write_steps(client, [run.id for run in runs], file)
        note(f"wrote {file}")
    else:
        _picture(client, runs).write(file)
        note(f"drew {file}")


def _picture(client: Client, runs: Sequence[RunDetail]) -> Picture:
    """The losses of each run in its colour, those on held-out rows as dots."""
    from orchestrator.cli.curve import Curve, draw_curves

    trained = [Curve(run.id, _series(client, run, "loss"), at) for at, run in enumerate(runs)]
    held_out = [Curve(None, _series(client, run, "eval_loss"), at, apart=True) for at, run in enumerate(runs)]
    dots = ", and on held-out rows (dots)" if any(curve.points for curve in held_out) else ""
    return draw_curves(f"Loss in training{dots}", [*trained, *held_out])


def _series(client: Client, run: RunDetail, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.metrics(run.id, key)[key]]


def _spec(run: RunDetail) -> Mapping[str, Any]:
    """The spec of a run with the defaults of today for what its version did not know."""
    from pydantic import ValidationError

    from orchestrator.spec.models import Spec

    try:
        return Spec.model_validate(dict(run.spec)).model_dump(mode="json")
    except ValidationError:  # written by a version whose specs are not ours
        return run.spec


def _dataset(run: RunDetail) -> dict[str, Any]:
    facts = run.facts.get("dataset_facts") or {}
    digests = {"dataset": run.facts.get("dataset"), "base model": run.facts.get("model")}
    return {**digests, **{key: value for key, value in facts.items() if key != "digest"}}


def _newest(key: str) -> Callable[[Client, RunDetail], Any]:
    def figure(client: Client, run: RunDetail) -> Any:
        points = client.metrics(run.id, key, points=1)[key]
        return points[-1].value if points else None

    return figure


def _score(side: str, metric: str) -> Callable[[Client, RunDetail], Any]:
    return lambda _, run: ((run.facts.get("evaluate") or {}).get(side) or {}).get(metric)


def _steps(client: Client, run: RunDetail) -> str | None:
    from orchestrator.cli.shown import progress_of

    return progress_of(run)


_FIGURES: Mapping[str, Callable[[Client, RunDetail], Any]] = {
    "status": lambda _, run: run.status.value,
    "reason": lambda _, run: run.reason.value if run.reason else None,
    "steps": _steps,
    "loss": _newest("loss"),
    "validation loss": _newest("eval_loss"),
    "exact match": _score("adapter", "exact_match"),
    "held-out loss": _score("adapter", "loss"),
    "tokens/s": _newest("tokens_per_second"),
    "took": lambda _, run: duration(run.ended - run.created) if run.ended else None,
    "lost steps": lambda _, run: run.lost_steps or None,
}


def _cell(value: Any) -> str:
    """A value in as few characters as tell it."""
    if value is None:
        return ""
    if isinstance(value, float):
        return short(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:12] if _DIGEST.fullmatch(text) else " ".join(text.split())
