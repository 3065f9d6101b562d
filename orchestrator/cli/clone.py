"""`axo clone`: the spec of a run as a new file, with some values changed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.completion import CHANGE, RUN
from orchestrator.cli.connection import connected, named_mapping
from orchestrator.cli.files import write_whole
from orchestrator.cli.output import note

if TYPE_CHECKING:
    from orchestrator.spec.document import KeyPath
    from orchestrator.spec.load import Loaded
    from orchestrator.wire import RunDetail

_PLACES = (("base_model",), ("dataset", "source"), ("dataset", "validation"), ("adapter", "continue_from"))


@click.command("clone")
@click.argument("run", type=RUN)
@click.option(
    "--set",
    "changes",
    multiple=True,
    type=CHANGE,
    metavar="FIELD=VALUE",
    help="Change a field; repeatable.",
)
@click.option("--name", help="Name of the new spec; that of the run, counted on, if left out.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write, never one that is there; NAME.yaml if left out.",
)
@click.option("--stdout", is_flag=True, help="Print the spec, and write nothing.")
def command(run: str, changes: Sequence[str], name: str | None, output: Path | None, stdout: bool) -> None:
    """Write the spec of RUN as a new file, comments and all, with some fields changed.

    Values are YAML and are checked as those of any spec.

    \b
    Examples:
      axo clone support-triage --set training.learning_rate=1e-4
      axo clone triage-x7k2p --name bold --set 'adapter={kind: lora, r: 64}'
    """
    from orchestrator.changes import differing, flat

    with connected() as client:
        found = client.run(run)
    name = name or counted_on(found.name)
    file = output or Path(f"{name}.yaml")
    if file.exists() and not stdout:
        raise click.UsageError(f"{file} is there already: give --output another name, or use --stdout")
    cloned = _cloned(found, file, name, [_change(text) for text in changes])
    if stdout:
        click.echo(cloned.text, nl=False)
        return
    write_whole(file, cloned.text, "x")
    note(f"wrote {file}, the spec of {found.id} with")
    for field, (_, now) in differing([flat(found.spec), flat(cloned.spec.model_dump(mode="json"))]).items():
        note(f"  {field}: {now}")
    note(f"next: axo check {file}")


def counted_on(name: str) -> str:
    """The name with its number one higher: `triage-2` after `triage`, `triage-3` after that."""
    match = re.fullmatch(r"(.+)-(\d{1,4})", name)
    stem, number = (match[1], int(match[2]) + 1) if match else (name, 2)
    return f"{stem[: 47 - len(str(number))].rstrip('-')}-{number}"


def _change(text: str) -> tuple[KeyPath, str]:
    from orchestrator.spec.document import parse_path

    field, equals, value = text.partition("=")
    if not equals or not (path := parse_path(field.strip())):
        raise click.UsageError(f"--set takes FIELD=VALUE, such as training.epochs=1, not {text!r}")
    return path, value


def _cloned(run: RunDetail, file: Path, name: str, changes: Sequence[tuple[KeyPath, str]]) -> Loaded:
    """The changed spec, proven to be one.

    Raises:
        SpecError: a change is not possible, or what comes out is no spec.
    """
    from orchestrator.spec.draft import scalar_text
    from orchestrator.spec.edit import edited
    from orchestrator.spec.load import parse_spec
    from orchestrator.spec.yaml import read_yaml

    value = read_yaml(run.spec_text.encode(), str(file)).value
    moved = {path: scalar_text(place) for path, place in _moved(value, Path(run.base or "."), file.parent)}
    text = edited(run.spec_text, {("name",): scalar_text(name), **moved, **dict(changes)})
    return parse_spec(text.encode(), file, named=named_mapping)


def _moved(value: Any, base: Path, folder: Path) -> Iterator[tuple[KeyPath, str]]:
    """Paths that the spec has relative to its old folder, as they are from its new one."""
    if base.absolute() == folder.absolute():
        return
    for path, place in _places(value):
        if "://" not in place and not Path(place).is_absolute() and _is_there(base, place):
            yield path, os.path.relpath(base / place, folder)


def _is_there(base: Path, place: str) -> bool:
    return (base / place).exists() or any(mark in place for mark in "*?[")


def _places(value: Any) -> Iterator[tuple[KeyPath, str]]:
    """Every text of a spec that may be a path: sources, entries of sources, models, a mapping file."""
    for at in (*_PLACES, ("mapping",)):
        found = value
        for part in at:
            found = found.get(part) if isinstance(found, dict) else None
        yield from _sources(found, at)


def _sources(found: Any, at: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(found, str):
        yield at, found
    elif isinstance(found, list):
        for index, entry in enumerate(found):
            yield from _sources(entry, (*at, index))
    elif isinstance(found, dict):
        for key in ("source", "mapping"):
            if isinstance(found.get(key), str):
                yield (*at, key), found[key]
