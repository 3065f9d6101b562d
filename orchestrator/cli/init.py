"""`axo init`: look at data, and write a first spec for it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orchestrator.cli.files import write_whole
from orchestrator.cli.frame import can_ask, did_you_mean
from orchestrator.cli.output import cut, note

if TYPE_CHECKING:
    from orchestrator.data.look import Look
    from orchestrator.spec.draft import Draft
    from orchestrator.spec.models import SourceEntry

BASE_MODEL = "Qwen/Qwen3-0.6B"
_DRAFT_ALL_THE_SAME = "nothing was written; with --stdout the draft is printed all the same, to be mended"


@click.command("init")
@click.argument("source")
@click.option("--base-model", help="A hub id, or a model folder.")
@click.option("--answer", metavar="COLUMN", help="The column, or field.inside, with the answers.")
@click.option("--encoding", help="Of text that is not UTF-8, such as latin-1.")
@click.option("--sheet", help="Of an Excel workbook; the first if left out.")
@click.option("--name", help="Name of the run; after the source if left out.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("spec.yaml"),
    show_default=True,
    help="The spec to write; never one that is there.",
)
@click.option("--stdout", is_flag=True, help="Print the spec, and write nothing.")
def command(
    source: str,
    base_model: str | None,
    answer: str | None,
    encoding: str | None,
    sheet: str | None,
    name: str | None,
    output: Path,
    stdout: bool,
) -> None:
    """Look at the data in SOURCE and write a commented spec for it.

    SOURCE is a file or folder, or an address such as hf://org/name. What `axo check` would refuse is not
    written, but told.

    \b
    Examples:
      axo init tickets.jsonl
      axo init tickets.jsonl --base-model Qwen/Qwen3-0.6B --stdout
    """
    from orchestrator.data.look import looking
    from orchestrator.errors import SpecError
    from orchestrator.first_spec import first_spec
    from orchestrator.settings import Settings

    if not stdout:
        _refuse_to_replace(output)
    path = Path("spec.yaml") if stdout else output
    with looking(_entry(source, encoding, sheet), Path()) as seen:
        seen = _with_answer(seen, answer)
        _tell(seen)
        draft = _draft(seen, source, base_model, name, path.parent)
        draft = replace(draft, encoding=encoding, sheet=sheet)
        made = first_spec(draft, seen, path, Settings.from_environment())
    for line in made.notes:
        note(f"  {line}")
    if stdout:
        click.echo(made.text, nl=False)
    if made.faults:
        raise SpecError(made.faults, hint=None if stdout else _DRAFT_ALL_THE_SAME)
    if not stdout:
        _write(output, made.text)
    if base_model is None and not can_ask():
        note(f"base_model is a first choice ({BASE_MODEL}): set the one you want")


def _entry(source: str, encoding: str | None, sheet: str | None) -> SourceEntry:
    from pydantic import ValidationError

    from orchestrator.spec.models import SourceEntry

    try:
        return SourceEntry(source=source, encoding=encoding, sheet=sheet)
    except ValidationError as error:
        first = error.errors()[0]
        name = f"--{first['loc'][-1]}" if first["loc"][-1] != "source" else "SOURCE"
        raise click.UsageError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from error


def _refuse_to_replace(output: Path) -> None:
    if output.exists():
        raise click.UsageError(f"{output} is there already: give --output another name, or use --stdout")


def _with_answer(seen: Look, answer: str | None) -> Look:
    """The look with the answer that was named or, where one can be asked and must guess, is named now."""
    found = seen.recognition
    if answer is None and found.confidence == "guess" and found.form == "unknown" and can_ask():
        columns = list(seen.answers)
        note(f"the columns are {', '.join(columns)}")
        answer = click.prompt(
            "Column with the answers", type=click.Choice(columns), default=columns[-1], err=True
        )
    if answer is None:
        return seen
    if answer not in seen.answers:
        raise click.UsageError(f"there is no column {answer!r}{did_you_mean(answer, seen.answers)}")
    return seen.with_answer(answer)


def _draft(seen: Look, source: str, base_model: str | None, name: str | None, folder: Path) -> Draft:
    from orchestrator.cli.hardware import gpus
    from orchestrator.spec.draft import Draft, name_for

    found = seen.recognition
    return Draft(
        name=name or name_for(source),
        base_model=_model_from(base_model or _asked_model(), folder),
        source=_path_from(source, folder),
        mapping=found.mapping,
        method=found.method,
        machine="gpu" if gpus() else "cpu",
        rows=seen.rows,
        longest=seen.longest,
        made_by=f"axo init {source}",
        taken_for=f"Taken for {found.form.replace('_', ' ')}: {found.why}.",
        notes=found.notes,
    )


def _asked_model() -> str:
    """The base model that somebody at the terminal names, else the first choice."""
    if not can_ask():
        return BASE_MODEL
    answer: str = click.prompt("Base model (a hub id or a folder)", default=BASE_MODEL, err=True)
    return answer


def _model_from(base_model: str, folder: Path) -> str:
    return _path_from(base_model, folder) if Path(base_model).is_dir() else base_model


def _path_from(source: str, folder: Path) -> str:
    """A path as the spec in `folder` has to name it; an address as it is."""
    if "://" in source or Path(source).is_absolute():
        return source
    return os.path.relpath(source, folder)


def _tell(seen: Look) -> None:
    from orchestrator.data.report import counted

    found = seen.recognition
    note(f"{seen.source}: {counted(seen.rows, 'row')} of {cut(', '.join(seen.columns), 60)}")
    note(f"taken for {found.form.replace('_', ' ')} ({found.confidence}): {found.why}")
    for line in found.notes:
        note(f"  {line}")
    if found.confidence == "guess":
        note("  this is a guess: look at the mapping before you go on")


def _write(output: Path, text: str) -> None:
    """Write the spec, whole and only where none is, and the schema for editors beside it."""
    from orchestrator.cli.schema import spec_schema_text
    from orchestrator.spec.draft import SCHEMA_FILE

    output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(output, text, "x")
    write_whole(output.parent / SCHEMA_FILE, spec_schema_text())
    note(f"wrote {output}, and {output.parent / SCHEMA_FILE} for editors")
    note("next:")
    for verb in ("check", "plan", "run"):
        note(f"  axo {verb} {output}")
