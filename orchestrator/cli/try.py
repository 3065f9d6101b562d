"""`axo try`: ask a finished adapter and its base model, side by side."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.completion import RUN
from orchestrator.cli.connection import connected
from orchestrator.cli.moved import Moved
from orchestrator.cli.output import fields, note, output_option, print_data

if TYPE_CHECKING:
    from orchestrator.client import Client
    from orchestrator.client.trial import Answer
    from orchestrator.data.questions import Question
    from orchestrator.settings import Settings
    from orchestrator.wire import RunDetail

MOST = 1000


@click.command("try")
@click.argument("name", metavar="NAME", type=RUN)
@click.argument("prompts", metavar="[PROMPT]...", nargs=-1)
@click.option(
    "--file",
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help="Prompts, one in each line, or JSON lines; - is stdin.",
)
@click.option("--held-out", metavar="N", type=click.IntRange(1, MOST), help="Ask the first held-out rows.")
@click.option("--base/--no-base", default=True, help="Let the base model answer too.  [default: base]")
@click.option("--base-model", metavar="MODEL", help="Where it lies here, if it is not found.")
@click.option(
    "--max-tokens",
    metavar="N",
    type=click.IntRange(1, 32_768),
    default=256,
    show_default=True,
    help="Of an answer.",
)
@click.option(
    "--temperature",
    metavar="T",
    type=click.FloatRange(0, 5),
    default=0.0,
    show_default=True,
    help="0 is greedy.",
)
@click.option(
    "--seed", metavar="N", type=click.IntRange(0), default=42, show_default=True, help="Of what is drawn."
)
@click.option("--reasoning", is_flag=True, help="Answers begin with reasoning, as in their data.")
@output_option("table", "json", "yaml")
def command(
    name: str,
    prompts: Sequence[str],
    file: Path | None,
    held_out: int | None,
    base: bool,
    base_model: str | None,
    max_tokens: int,
    temperature: float,
    seed: int,
    reasoning: bool,
    form: str,
) -> None:
    """Ask the adapter of the run NAME, and its base model beside it, here.

    JSON lines are rows for the run's mapping, or {"messages": [..]}. Models are loaded for this call alone;
    `axo pull` tells what serves an adapter.

    \b
    Examples:
      axo try support-triage "Where is my parcel?"
      axo try support-triage --file questions.txt --no-base
    """
    from orchestrator.client.trial import Asking, ask, base_folder, differs
    from orchestrator.settings import Settings

    if sum(map(bool, (prompts, file, held_out))) != 1:
        raise click.UsageError("give prompts, or --file, or --held-out")
    settings = Settings.from_environment()
    asking = Asking(base, max_tokens, temperature, seed, reasoning)
    with connected() as client, Moved("fetched") as moved:
        run = client.run(name)
        questions = _questions(client, settings, run, prompts, file, held_out)
        model = base_folder(client, settings, run, base_model)
        if differs(run, model):
            note(f"{model} is not, byte for byte, the base model that the run was trained on")
        note("loading the base model and the adapter, for this call alone")
        answers = ask(client, settings, run, model, questions, asking, moved.add)
    told = [_told(question, number, answers) for number, question in enumerate(questions)]
    if form != "table":
        print_data(told, form)
        return
    click.echo("\n\n".join(map(_shown, told)))
    note(f"a trial on this machine; `axo pull {run.id}` prints the command that serves it")


def _questions(
    client: Client,
    settings: Settings,
    run: RunDetail,
    prompts: Sequence[str],
    file: Path | None,
    held_out: int | None,
) -> list[Question]:
    from orchestrator.client.trial import questions_held_out
    from orchestrator.data.questions import fits, lines, of_prompt, of_rows
    from orchestrator.spec.models import Spec

    if held_out is not None:
        return questions_held_out(client, settings, run, held_out)
    mapping = Spec.model_validate(run.spec).mapping
    text = (sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")) if file else ""
    given = list(lines(text, str(file))) if file else list(prompts)
    if not given or len(given) > MOST:
        raise click.UsageError(f"{file} has {len(given)} prompts; one to {MOST} can be asked")
    rows = [each for each in given if not isinstance(each, str)]
    if rows:
        return of_rows(mapping, rows)
    if not fits(mapping):
        note("the mapping asks by several columns, and a prompt stands for all that the user says;")
        note("rows in --file, as JSON lines, are asked as they were trained")
    return [of_prompt(mapping, each) for each in given if isinstance(each, str)]


def _told(question: Question, number: int, answers: Mapping[str, Sequence[Answer]]) -> dict[str, Any]:
    said = {model: asdict(found[number]) for model, found in answers.items()}
    return {"prompt": question.shown, **question.plain(), "expected": question.expected, **said}


def _shown(told: Mapping[str, Any]) -> str:
    said = {name: _answer(told[name]) for name in ("base", "adapter") if name in told}
    head = click.style(told["prompt"], bold=True)
    return f"{head}\n{fields({'expected': told['expected'], **said}, indent=2)}"


def _answer(answer: Mapping[str, Any]) -> str:
    """The answer without what would move a terminal's cursor, and what there is to say of it."""
    text = "".join(sign if sign.isprintable() or sign == "\n" else " " for sign in answer["text"].strip())
    cut = "" if answer["whole"] else f" (cut at {answer['tokens']} tokens)"
    return f"{text or '(nothing)'}{cut}"
