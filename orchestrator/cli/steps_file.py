"""All metrics of runs as CSV: a row for each step, a column for each metric, empty where it has no value."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.files import write_whole
from orchestrator.wire import MAX_POINTS

if TYPE_CHECKING:
    from orchestrator.client import Client

SUFFIX = ".csv"
STEPS = 10_000  # that are asked for at once
KEYS = 20  # whose names fit into a URL, however long they are
_FIRST = ("loss", "eval_loss")

Row = list[str | int | float | None]


def is_table(file: Path) -> bool:
    return file.suffix.lower() == SUFFIX


def write_steps(client: Client, runs: Sequence[str], file: Path) -> int:
    """Write the steps of one run, or those of several under the column `run`; how many rows there are."""
    newest = {run: client.metrics(run, points=1) for run in runs}
    keys = _in_order({key for series in newest.values() for key in series})
    several, count = len(runs) > 1, 0
    text = StringIO()  # a million points at most: a file that is there is whole
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*(["run"] if several else []), "step", *keys])
    for run, series in newest.items():
        last = max((points[-1].step for points in series.values()), default=-1)
        for row in _rows(client, run, list(series), keys, last):
            table.writerow([run, *row] if several else row)
            count += 1
    write_whole(file, text.getvalue())
    return count


def _in_order(keys: set[str]) -> list[str]:
    """The losses first, then by name."""
    return [*(key for key in _FIRST if key in keys), *sorted(keys.difference(_FIRST))]


def _rows(client: Client, run: str, own: Sequence[str], keys: Sequence[str], last: int) -> Iterator[Row]:
    """A metric has one point at most at each step: of an answer about few enough none is thinned out."""
    groups = [own[start : start + KEYS] for start in range(0, len(own), KEYS)]
    steps = min(STEPS, MAX_POINTS // min(KEYS, len(own) or 1))
    for first in range(0, last + 1, steps):
        until = min(last, first + steps - 1)
        values: dict[str, dict[int, float]] = {}
        for group in groups:
            found = client.metrics(run, *group, points=steps, first=first, last=until)
            values |= {key: {point.step: point.value for point in points} for key, points in found.items()}
        for step in sorted({step for points in values.values() for step in points}):
            yield [step, *(values.get(key, {}).get(step) for key in keys)]
