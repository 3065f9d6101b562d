"""`axo check`: prove a spec and its data before anything is started."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.connection import proving_settings, read_spec
from orchestrator.cli.examples import Writing
from orchestrator.cli.output import fields, note, output_option, print_data

if TYPE_CHECKING:
    from orchestrator.data.report import Finding
    from orchestrator.data.samples import Sample
    from orchestrator.errors import Fault
    from orchestrator.spec.load import Loaded
    from orchestrator.steps.prepare import Inspection

_COLOURS = {"error": "red", "warn": "yellow", "info": "cyan"}


@click.command("check")
@click.argument("spec", type=click.Path(path_type=Path))
@click.option("--strict", is_flag=True, help="Take every warning for a fault.")
@click.option("--samples", type=click.IntRange(0, 3), default=1, show_default=True, help="Examples to show.")
@click.option(
    "--write",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.jsonl",
    help="Write the examples; where rows are held out, FILE-train.jsonl and FILE-validation.jsonl.",
)
@click.option("--left-out", is_flag=True, help="With --write, also FILE-left-out.jsonl: other rows, and why.")
@click.option("--force", is_flag=True, help="Let --write replace files that are there.")
@output_option("table", "json", "yaml")
def command(
    spec: Path, strict: bool, samples: int, file: Path | None, left_out: bool, force: bool, form: str
) -> None:
    """Prove SPEC and its data: verdicts for all rows, tokens, every fault at once.

    With --write the examples are left as files too, in OpenAI's chat form: those that preparing would train
    on, in its order.

    \b
    Examples:
      axo check spec.yaml
      axo check spec.yaml --strict -o json
      axo check spec.yaml --write examples.jsonl
    """
    from orchestrator.service.checks import check_config, check_machine, inspect, with_earlier_adapter
    from orchestrator.spec.load import with_places

    if file is None and (left_out or force):
        raise click.UsageError("--left-out and --force go with --write FILE.jsonl")
    loaded, settings = _loaded(spec), proving_settings()
    writing = Writing.of(loaded.spec, file, left_out=left_out, force=force) if file else None
    check_machine(loaded, settings)
    check_config(loaded, settings)
    loaded = with_earlier_adapter(loaded, settings, loaded.path.parent)
    found = inspect(loaded, settings, strict=strict, write=writing.write if writing else None)
    faults = with_places(loaded, found.faults)
    if form == "table":
        click.echo(described(found, samples))
        for fault in faults:
            click.echo(click.style("error: ", fg="red", bold=True) + str(fault), err=True)
        if not faults:
            note(f"{spec} is fit to run")
    else:
        print_data(plain(found) | {"faults": [asdict(fault) for fault in faults]}, form)
    if writing:
        writing.tell()
    sys.exit(3 if faults else 0)


def _loaded(spec: Path) -> Loaded:
    """The spec; where it has no mapping, its fault tells one that fits the data."""
    from orchestrator.errors import SpecError

    try:
        return read_spec(spec)
    except SpecError as error:
        raise SpecError([_with_mapping(fault, spec) for fault in error.faults]) from error


def _with_mapping(fault: Fault, spec: Path) -> Fault:
    """A missing mapping with one that fits the data, where that can be read; any other fault as it is."""
    if (fault.path, fault.what) != ("mapping", "is missing"):
        return fault
    from orchestrator.data.look import look
    from orchestrator.errors import FaultsError
    from orchestrator.spec.draft import mapping_lines
    from orchestrator.spec.yaml import read_yaml

    dataset = (read_yaml(spec.read_bytes(), str(spec)).value or {}).get("dataset")
    source = dataset.get("source") if isinstance(dataset, Mapping) else None
    if not isinstance(source, str):
        return fault
    try:
        found = look(source, spec.parent)
    except FaultsError:
        return fault
    method = "" if found.method == "sft" else f"method: {found.method}\n"
    lines = "\n".join(["paste this", f"{method}mapping:", *mapping_lines(found.mapping, "  ")])
    return replace(fault, why=f"{source} reads as {found.form.replace('_', ' ')}: {found.why}", fix=lines)


def described(found: Inspection, samples: int) -> str:
    """The inspection as text: verdicts, tokens, findings with their rows, the first examples."""
    blocks = [fields(_figures(found))]
    if found.report:
        blocks += [_finding(finding) for finding in found.report.findings]
    blocks += [_sample(number, sample) for number, sample in enumerate(found.samples[:samples], 1)]
    return "\n".join(block for block in blocks if block)


def plain(found: Inspection) -> dict[str, Any]:
    """The inspection as plain data; the schema of `-o json`."""
    return {
        "report": found.report.to_dict() if found.report else None,
        "splits": found.splits,
        "dropped": found.dropped,
        "forecast": asdict(found.forecast) if found.forecast else None,
        "samples": [asdict(sample) for sample in found.samples],
    }


def _figures(found: Inspection) -> dict[str, str | None]:
    report, shown = found.report, dict[str, str | None]()
    if report:
        verdicts = f"{report.green:,} green, {report.yellow:,} yellow, {report.red:,} red"
        shown["rows"] = f"{report.rows:,} ({verdicts})"
    for name, split in (found.splits or {}).items():
        shown[name] = _split(split, with_tokens=found.forecast is not None)
    for reason, count in (found.dropped or {}).items():
        shown[f"left out, {reason}"] = f"{count:,}"
    if found.forecast:
        from orchestrator.data.report import counted

        about = "" if found.forecast.exact else "about "
        steps = counted(found.forecast.steps, "step")
        shown["training"] = f"{about}{steps}, {found.forecast.tokens:,} tokens seen"
    return shown


def _split(split: Mapping[str, Any], *, with_tokens: bool) -> str:
    from orchestrator.data.report import counted

    if not with_tokens:
        return counted(split["rows"], "row")
    rows, longest = counted(split["rows"], "row"), f"longest {split['lengths']['longest']:,}"
    if "pieces" in split:
        return f"{rows}, {split['tokens']:,} tokens, in {counted(split['pieces'], 'piece')}; {longest}"
    trained = f"{split['trained_tokens']:,} of them trained"
    return f"{rows}, {split['tokens']:,} tokens, {trained}; {longest}"


def _finding(finding: Finding) -> str:
    head = click.style(finding.severity, fg=_COLOURS[finding.severity])
    count = f" ({finding.count:,})" if finding.count else ""
    lines = [f"{head} {finding.code}: {finding.message}{count}"]
    for example in finding.examples:
        place = f"{example.file}:{example.line}" if example.line else example.file
        field = f", {example.field}" if example.field else ""
        value = f": {example.value}" if example.value is not None else ""
        lines.append(f"    {place}, row {example.row}{field}{value}")
    if finding.fix:
        lines.append(f"    fix: {finding.fix}")
    return "\n".join(lines)


def _sample(number: int, sample: Sample) -> str:
    """An example with its texts; what is trained is marked with `>`."""
    head = f"example {number}; what is trained is marked >"
    if sample.tokens is not None:
        head = f"example {number}, {sample.tokens:,} tokens, {sample.trained_tokens:,} trained (marked >)"
    return "\n".join([head, *_tools(sample.example), *_texts(sample)])


def _texts(sample: Sample) -> list[str]:
    messages = sample.example.get("messages")
    if messages is None:
        return [_marked(True, "", sample.example["text"], 0)]
    width = max(len(message["role"]) for message in messages) + 2
    return [
        _marked(trained, message["role"] + ":", _said(message), width)
        for trained, message in zip(sample.trained, messages, strict=True)
    ]


def _marked(trained: bool, who: str, text: str, width: int) -> str:
    mark = "  > " if trained else "    "
    shown = f"{who:<{width}}" + text.replace("\n", "\n" + mark + " " * width)
    return click.style(mark + shown, fg="green") if trained else mark + shown


def _said(message: Mapping[str, Any]) -> str:
    """What a message says: what it thinks, its text, and its calls, one below the other."""
    thought = [f"(thinks) {message['reasoning_content']}"] if message.get("reasoning_content") else []
    functions = [call["function"] for call in message.get("tool_calls", ())]
    calls = [f"calls {function['name']}({function['arguments']})" for function in functions]
    return "\n".join([*thought, *([message["content"]] if message["content"] or not calls else []), *calls])


def _tools(example: Mapping[str, Any]) -> list[str]:
    if not example.get("tools"):
        return []
    named = [tool.get("function", tool).get("name", "?") for tool in json.loads(example["tools"])]
    return [f"    tools on offer: {', '.join(named)}"]
