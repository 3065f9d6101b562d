"""How commands print: tables for people, JSON and YAML for programs, names for pipes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import click

Format = Literal["table", "json", "yaml", "name"]
Command = TypeVar("Command", bound=Callable[..., Any])

_BARS = "▁▂▃▄▅▆▇█"


def output_option(*formats: Format) -> Callable[[Command], Command]:
    """The `-o` option, with the formats a command has; the first is the default."""
    choices = formats or ("table", "json", "yaml", "name")
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(choices),
        default=choices[0],
        envvar="AXO_OUTPUT",
        help="How to print the result.",
    )


def print_data(value: Any, form: str) -> None:
    """Print a JSON-able value as JSON or YAML on stdout."""
    if form == "json":
        click.echo(json.dumps(value, indent=2, ensure_ascii=False))
    else:
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100), nl=False)


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Aligned columns under upper-case heads, as kubectl prints them; a blank cell shows as `-`."""
    if not rows:
        return ""
    heads = list(rows[0])
    widths = [max(len(head), *(len(row[head] or "-") for row in rows)) for head in heads]
    lines = [heads, *([row[head] or "-" for head in heads] for row in rows)]
    return "\n".join(_aligned(line, widths) for line in lines)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "   ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def fields(pairs: Mapping[str, str | None]) -> str:
    """One `name: value` line each, values aligned; None is left out."""
    shown = {name: value for name, value in pairs.items() if value is not None}
    width = max((len(name) for name in shown), default=0) + 2
    return "\n".join(f"{name + ':':<{width}}{value}" for name, value in shown.items())


def age(seconds: float) -> str:
    """How long ago, as kubectl writes it: 45s, 12m, 3h, 2d."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(max(0, seconds))}s"


def duration(seconds: float) -> str:
    """Minutes and seconds, or hours: 0:42, 12:05, 3:01:09."""
    whole = round(max(0.0, seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def sparkline(values: Sequence[float], width: int = 20) -> str:
    """The values as bars, thinned to `width` by means."""
    values = [value for value in values if math.isfinite(value)]
    if not values:
        return ""
    cells = [_mean(values[start:stop]) for start, stop in _cuts(len(values), min(width, len(values)))]
    low, high = min(cells), max(cells)
    span = (high - low) or 1.0
    return "".join(_BARS[int((cell - low) / span * (len(_BARS) - 1))] for cell in cells)


def _cuts(count: int, width: int) -> list[tuple[int, int]]:
    return [(index * count // width, (index + 1) * count // width) for index in range(width)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def note(text: str) -> None:
    """A line for the person at the terminal, on stderr."""
    click.echo(text, err=True)
