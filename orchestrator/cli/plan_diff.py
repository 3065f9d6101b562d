"""What changed between a run and what would be run now, as lines."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.output import Command, cut_inside
from orchestrator.cli.units import age, size, span

if TYPE_CHECKING:
    from orchestrator.wire import Run

NEWEST = "newest"
_WIDEST_VALUE = 60
_ONE_LINE = 70


def diff_option(told: str) -> Callable[[Command], Command]:
    """`--diff [RUN]`: what to tell the changes against, NEWEST for the newest run of the spec's name."""
    return click.option("--diff", "against", is_flag=False, flag_value=NEWEST, metavar="[RUN]", help=told)


def described(spec: Path, run: Run, found: Mapping[str, Mapping[str, Sequence[Any]]]) -> str:
    """The changes as lines: `-` what the run had, `+` what it would have now."""
    head = f"{spec} against {run.id} ({run.status}, {age(time.time() - run.created)} ago)"
    sections = [_section(name, rows) for name, rows in found.items() if rows]
    return "\n\n".join([head, *(sections or ["nothing changed"])])


def _section(name: str, rows: Mapping[str, Sequence[Any]]) -> str:
    lines = [click.style(name, bold=True)]
    for key, (old, new) in rows.items():
        both = [None if value is None else _text(key, value) for value in (old, new)]
        if all(both) and len(key) + sum(len(text or "") for text in both) < _ONE_LINE:
            lines.append(f"  {key}: {both[0]} -> {both[1]}")
            continue
        lines += [click.style(f"- {key}: {both[0]}", fg="red")] if both[0] else []
        lines += [click.style(f"+ {key}: {both[1]}", fg="green")] if both[1] else []
    return "\n".join(lines)


def _text(key: str, value: Any) -> str:
    if key.endswith("_bytes"):
        return size(value)
    if key == "seconds":
        return span(value)
    shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return cut_inside(" ".join(shown.split()), _WIDEST_VALUE)
