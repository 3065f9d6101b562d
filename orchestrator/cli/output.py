"""How commands print: tables for people, JSON and YAML for programs, names for pipes."""

from __future__ import annotations

import json
import math
import os
import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args

import click

from orchestrator.cli.drawn import drawing, erase
from orchestrator.cli.frame import Frame

Format = Literal["table", "wide", "json", "yaml", "name"]
Command = TypeVar("Command", bound=Callable[..., Any])
Item = TypeVar("Item")

VARIABLE = "AXO_OUTPUT"
_FORMATS = get_args(Format)
_BARS = "▁▂▃▄▅▆▇█"
_NARROWEST_CELL, _READABLE_HEAD, _READABLE_CELL = 4, 8, 12
_NARROWEST_LINE = 40


def output_option(*formats: Format) -> Callable[[Command], Command]:
    """The `-o` option, with the formats a command has; the first is the default.

    `AXO_OUTPUT` sets it for all commands that have the format it names.
    """
    choices = formats or ("table", "json", "yaml", "name")
    return click.option(
        "-o",
        "--output",
        "form",
        type=click.Choice(choices),
        default=lambda: _wanted(choices),
        is_eager=True,
        callback=_take_form,
        metavar="FORM",
        help=f"Print as {', '.join(choices[:-1])} or {choices[-1]}.",
    )


def _wanted(choices: Sequence[Format]) -> str:
    wanted = os.environ.get(VARIABLE) or choices[0]
    if wanted not in _FORMATS:
        raise click.UsageError(f"{VARIABLE} is {wanted!r}, which is not one of {', '.join(_FORMATS)}")
    return wanted if wanted in choices else choices[0]


def _take_form(context: click.Context, _: click.Parameter, form: str) -> str:
    context.find_root().ensure_object(Frame).json_errors = form == "json"
    return form


def print_data(value: Any, form: str) -> None:
    """Print a JSON-able value as JSON or YAML on stdout."""
    if form == "json":
        click.echo(json.dumps(_finite(value), indent=2, ensure_ascii=False))
    else:
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100), nl=False)


def _plain(item: Any) -> Any:
    """What the service told, as it told it."""
    return item.model_dump(mode="json")


def print_list(
    items: Sequence[Item],
    form: str,
    *,
    name: Callable[[Item], str],
    row: Callable[[Item], Mapping[str, str]],
    data: Callable[[Item], Any] = _plain,
    nothing: str = "",
    spare: Sequence[str] = (),
    keep_first: bool = False,
) -> None:
    """Print a list in the form that was asked for; for people `nothing`, on stderr, where it is empty.

    `spare` and `keep_first` are those of `table`.
    """
    if form == "name":
        for item in items:
            click.echo(name(item))
    elif form in ("json", "yaml"):
        print_data([data(item) for item in items], form)
    elif not items:
        note(nothing)
    else:
        width = 10_000 if form == "wide" else None
        rows = [row(item) for item in items]
        click.echo(table(rows, width, keep_first=keep_first, spare=spare))


def _finite(value: Any) -> Any:
    """The value with null for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value


def columns() -> int:
    """How many characters fit into a line: of the terminal, of COLUMNS, else 80."""
    return max(_NARROWEST_LINE, shutil.get_terminal_size().columns)


def table(
    rows: Sequence[Mapping[str, str]],
    width: int | None = None,
    indent: int = 0,
    keep_first: bool = False,
    spare: Sequence[str] = (),
) -> str:
    """Aligned columns under upper-case heads, as kubectl prints them; a blank cell shows as `-`.

    Cells are cut, widest column first, until a line fits `width` (by default the terminal's): a
    name in its middle, since its end tells it apart, anything else at its end. With `keep_first`
    the first column is cut only where cutting the others is not enough. Columns named in `spare`
    are left out, in that order, where the others could not be read beside them.
    """
    if not rows:
        return ""
    limit = (columns() - 1 if width is None else width) - indent
    heads = _heads(rows, limit, spare)
    lines = [heads, *([row[head] or "-" for head in heads] for row in rows)]
    natural = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    gap = "   " if sum(natural) + 3 * (len(heads) - 1) <= limit else "  "
    room = limit - len(gap) * (len(heads) - 1)
    if keep_first and len(natural) > 1:
        natural = [natural[0], *_narrowed(natural[1:], room - natural[0])]
    widths = _narrowed(natural, room)
    shown = [_cells(line, widths, names=line is heads) for line in lines]
    return "\n".join(" " * indent + gap.join(cells).rstrip() for cells in shown)


def readable(rows: Sequence[Mapping[str, str]], indent: int = 0) -> bool:
    """Whether a table of these rows with its first column whole has room for what the others say."""
    heads = list(rows[0])
    room = columns() - 1 - indent - 2 * (len(heads) - 1)
    cells = [max(min(_READABLE_CELL, len(row[head])) for row in rows) for head in heads[1:]]
    names = [min(_READABLE_HEAD, len(head)) for head in heads[1:]]
    return max(len(row[heads[0]]) for row in rows) + sum(map(max, cells, names)) <= room


def _heads(rows: Sequence[Mapping[str, str]], limit: int, spare: Sequence[str]) -> list[str]:
    """The columns to show: all of them, or without the spare ones that the others need the room of."""
    heads = list(rows[0])
    for head in spare:
        needed = [min(_READABLE_CELL, max(len(name), *(len(row[name]) for row in rows))) for name in heads]
        if sum(needed) + 2 * (len(heads) - 1) > limit:
            heads.remove(head)
    return heads


def _narrowed(natural: Sequence[int], limit: int) -> list[int]:
    """Widths that together are `limit` at most, as far as no column gets narrower than it can be read."""
    widths = list(natural)
    while sum(widths) > limit and max(widths) > _NARROWEST_CELL:
        widths[widths.index(max(widths))] -= 1
    return widths


def _cells(line: Sequence[str], widths: Sequence[int], *, names: bool) -> list[str]:
    """The cells of a line at their widths; names, those of a head and of the first column, keep their end."""
    return [
        (cut_inside(cell, width) if names or index == 0 else cut(cell, width)).ljust(width)
        for index, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]


def cut(text: str, width: int) -> str:
    """The text, its end left out where it is longer than `width`."""
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


def cut_inside(text: str, width: int) -> str:
    """The text, its middle left out where it is longer than `width`."""
    if len(text) <= width:
        return text
    end = (width - 1) // 2
    return f"{text[: width - 1 - end]}…{text[len(text) - end :]}"


def fields(pairs: Mapping[str, str | None], indent: int = 0) -> str:
    """One `name: value` line each, values aligned and wrapped; None is left out.

    What has no space in it (an address, a digest) stays whole.
    """
    shown = {name: value for name, value in pairs.items() if value is not None}
    width = max((len(name) for name in shown), default=0) + 2
    lines = (f"{name + ':':<{width}}{wrapped(value, width + indent)}" for name, value in shown.items())
    return "\n".join(" " * indent + line for line in lines)


def wrapped(text: str, indent: int) -> str:
    """The text in lines that fit the terminal, all but the first behind `indent` spaces."""
    room = max(20, columns() - 1 - indent)
    wrapper = textwrap.TextWrapper(room, break_long_words=False, break_on_hyphens=False)
    lines = [wrapper.wrap(line) if len(line) > room else [line] for line in text.split("\n")]
    return ("\n" + " " * indent).join(line for part in lines for line in part)


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
    with drawing:
        erase()
        click.echo(text, err=True)
