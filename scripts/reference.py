"""The reference pages, written from the models, the commands and the tables that the product itself uses."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from orchestrator.axolotl.keys import Kind, key_rules
from orchestrator.axolotl.schema import AXOLOTL_VERSION
from orchestrator.cli import axo
from orchestrator.reasons import REASONS
from orchestrator.settings_file import SettingsFile
from orchestrator.spec.models import Spec

NOTE = "<!-- Written by scripts/reference: change the code, not this page. -->"
_KINDS: Mapping[Kind, str] = {
    "free": "may stand under `axolotl:` with any value that Axolotl's schema allows",
    "bounded": "may stand there within a range or a choice",
    "owned": "the service sets it; often a field of the spec stands for it",
    "admin": "belongs to the machine, so to the operator",
    "forbidden": "never: it runs code, leaves the run's folder, goes online, or breaks a promise",
}


def main(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


def pages() -> dict[str, str]:
    """Every page of the reference, by its file name."""
    spec = "The YAML that a person writes. Unknown keys are refused, each with its line and what was meant."
    settings = "The operator's file, `$AXO_HOME/settings.yaml` or where `AXO_SETTINGS` points. Optional."
    return {
        "spec.md": _page("The spec", spec, _model(Spec.model_json_schema())),
        "settings.md": _page("Settings", settings, _model(SettingsFile.model_json_schema())),
        "commands.md": _page(
            "Commands", "As `--help` prints them. Every option has an environment variable.", _commands()
        ),
        "reasons.md": _page("Reasons", "Why a run waits or has failed, and what to do.", _reasons()),
        "axolotl-keys.md": _page(
            "Axolotl's keys",
            f"Every key of Axolotl {AXOLOTL_VERSION} has a class. `axo explain KEY` says more of one.",
            _keys(),
        ),
    }


def _page(title: str, sentence: str, blocks: Iterator[str]) -> str:
    return "\n\n".join([f"# {title}", NOTE, sentence, *blocks]) + "\n"


def _model(schema: Mapping[str, Any]) -> Iterator[str]:
    """A table of fields for the model itself, then one for each model below it."""
    models = schema.get("$defs", {})
    yield _fields(schema, models)
    for name, model in models.items():
        if "properties" in model:
            yield f"## {name}\n\n{model.get('description', '')}\n\n{_fields(model, models)}"


def _fields(model: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    rows = ["| field | type | default | |", "| --- | --- | --- | --- |"]
    needed = model.get("required", [])
    for name, field in model["properties"].items():
        default = "**required**" if name in needed else _default(field.get("default"))
        rows.append(
            f"| `{name}` | {_cell(_type(field))} | {default} | {_cell(field.get('description', ''))} |"
        )
    return "\n".join(rows)


def _default(value: Any) -> str:
    simple = value is not None and not isinstance(value, Mapping)  # the defaults of a section stand in it
    return "" if not simple else f"`{_cell(json.dumps(value, ensure_ascii=False))}`"


def _type(field: Mapping[str, Any]) -> str:
    """A JSON Schema type in words, with its bounds."""
    if "$ref" in field:
        name = field["$ref"].rsplit("/", 1)[1]
        return f"[{name}](#{name.lower()})"
    if options := field.get("anyOf", field.get("oneOf")):
        return " or ".join(_type(option) for option in options if option.get("type") != "null")
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{choice}`" for choice in field["enum"])
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    if isinstance(values := field.get("additionalProperties"), Mapping):
        return f"map to {_type(values)}"
    return _WORDS.get(field.get("type", ""), "any value") + _bounds(field)


_WORDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "map",
}


def _bounds(field: Mapping[str, Any]) -> str:
    low = _bound(field, "minimum", "from {}") or _bound(field, "exclusiveMinimum", "above {}")
    high = _bound(field, "maximum", "to {}") or _bound(field, "exclusiveMaximum", "below {}")
    found = " ".join(part for part in (low, high) if part)
    return f", {found}" if found else ""


def _bound(field: Mapping[str, Any], name: str, words: str) -> str:
    return words.format(f"{field[name]:.10g}") if name in field else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _commands() -> Iterator[str]:
    top = click.Context(axo, info_name="axo")
    yield f"```\n{_help(axo, top)}\n```"
    for name in axo.list_commands(top):
        command = axo.get_command(top, name)
        assert command is not None
        yield from _command(command, click.Context(command, top, name))


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    """A command, and those below it where it is a group."""
    yield f"## {context.command_path}\n\n```\n{_help(command, context)}\n```"
    for name, each in command.commands.items() if isinstance(command, click.Group) else ():
        yield from _command(each, click.Context(each, context, name))


def _help(command: click.Command, context: click.Context) -> str:
    context.terminal_width = context.max_content_width = 80
    return click.unstyle(command.get_help(context)).rstrip()


def _reasons() -> Iterator[str]:
    rows = ["| reason | what it says | what to do | tried again | counts as a failure |"]
    rows.append("| --- | --- | --- | --- | --- |")
    for reason, facts in REASONS.items():
        again, counts = ("yes" if value else "no" for value in (facts.retryable, facts.counts))
        rows.append(f"| `{reason}` | {_cell(facts.sentence)} | {_cell(facts.advice)} | {again} | {counts} |")
    yield "\n".join(rows)


def _keys() -> Iterator[str]:
    for kind, meaning in _KINDS.items():
        rules = sorted((rule for rule in key_rules().values() if rule.kind == kind), key=lambda r: r.key)
        rows = [f"## {kind}\n\n{len(rules)} keys: {meaning}.\n", "| key | | ", "| --- | --- |"]
        rows += [f"| `{rule.key}` | {_cell(_rule(rule))} |" for rule in rules]
        yield "\n".join(rows)


def _rule(rule: Any) -> str:
    if rule.choices:
        return "one of " + ", ".join(f"`{json.dumps(choice)}`" for choice in rule.choices)
    if rule.minimum is not None:
        return f"from {rule.minimum:.10g} to {rule.maximum:.10g}"
    field = f"; in the spec `{rule.field}`" if rule.field else ""
    return f"{rule.reason or ''}{field}"


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
