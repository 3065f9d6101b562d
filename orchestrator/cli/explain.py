"""`axo explain`: what a key of Axolotl or a field of a spec is, and our value of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from orchestrator.cli.connection import proving_settings, read_spec
from orchestrator.cli.output import fields, output_option, print_data, table, wrapped
from orchestrator.errors import NotFoundError

if TYPE_CHECKING:
    from orchestrator.axolotl.explain import Explanation
    from orchestrator.axolotl.keys import Rule


@click.command("explain")
@click.argument("key", required=False)
@click.option("--spec", type=click.Path(path_type=Path), help="Tell the value in this spec, too.")
@output_option("table", "json", "yaml")
def command(key: str | None, spec: Path | None, form: str) -> None:
    """Explain KEY: a key of Axolotl, a field of a spec, or a class of keys.

    Tells its class, type, default and meaning; with --spec its value there, where that comes from,
    and why. Without a key it lists the classes.

    \b
    Examples:
      axo explain sample_packing
      axo explain training.learning_rate --spec spec.yaml
      axo explain bounded
    """
    from orchestrator.axolotl.keys import Kind

    if key is None:
        _print(_classes(), form)
    elif key in get_args(Kind):
        _print(_class(key), form)
    else:
        told = [_told(explanation, spec) for explanation in _explained(key)]
        if form == "table":
            click.echo("\n\n".join(_described(each) for each in told))
        else:
            print_data(told, form)


def _explained(key: str) -> list[Explanation]:
    """Raises NotFoundError for a name that nothing has, with the one that was probably meant."""
    from orchestrator.axolotl.explain import explain, nearest_name

    if found := explain(key):
        return found
    near = nearest_name(key)
    hint = f"did you mean `axo explain {near}`?" if near else "`axo explain` lists the classes of keys"
    raise NotFoundError(f"neither Axolotl nor a spec has {key!r}", hint=hint)


def _told(explanation: Explanation, spec: Path | None) -> dict[str, Any]:
    """What is known of a name, as plain data; `here` is its value in the spec."""
    told = {name: value for name, value in asdict(explanation).items() if value not in (None, ())}
    told |= {"default": explanation.default} if explanation.has_default else {}
    return told | ({"here": _here(explanation, spec)} if spec else {})


def _here(explanation: Explanation, file: Path) -> dict[str, Any]:
    """The value in a spec: where it stands in it, or where its config's comes from."""
    from orchestrator.axolotl.origin import origin_of, plain_names, value_at
    from orchestrator.service.checks import check_machine

    loaded, settings = read_spec(file), proving_settings()
    if explanation.of == "spec":
        names = plain_names(explanation.name)
        place = loaded.written(names)
        source = f"{place.file}:{place.line}" if place else "its default"
        return {"value": value_at(loaded.spec.model_dump(mode="json"), names), "source": source}
    check_machine(loaded, settings)
    machine = settings.machines[loaded.spec.compute.machine]
    found = origin_of(explanation.name, loaded.spec, machine)
    if found is None:
        return {"source": "it is not set, so Axolotl's default holds"}
    shown = {"value": found.value} if found.known else {}
    return shown | {"source": found.source} | ({"why": found.why} if found.why else {})


def _described(told: Mapping[str, Any]) -> str:
    of = "a key of Axolotl's config" if told["of"] == "axolotl" else "a field of a spec"
    here = told.get("here", {})
    shown = fields(
        {
            "class": f"{told['kind']}: {told['why']}" if "kind" in told else None,
            "type": told["type"],
            "holds": ", ".join(told.get("holds", ())) or None,
            "default": _text(told["default"]) if "default" in told else "none; it must be given",
            "in a spec": ", ".join(told.get("fields", ())) or None,
            "in Axolotl": ", ".join(told.get("keys", ())) or None,
            "value": _text(here["value"]) if "value" in here else None,
            "from": here.get("source"),
            "why": here.get("why"),
        },
        indent=2,
    )
    head = f"{told['name']}: {of}"
    meaning = told.get("description")
    return "\n".join([head, *([f"  {wrapped(meaning, 2)}"] if meaning else []), shown])


def _text(value: Any) -> str:
    from orchestrator.spec.faults import shown

    return "null" if value is None else shown(value)


def _classes() -> list[dict[str, str]]:
    from orchestrator.axolotl.explain import CLASSES, keys_of

    return [{"class": kind, "keys": str(len(keys_of(kind))), "what": what} for kind, what in CLASSES.items()]


def _class(kind: Any) -> list[dict[str, str]]:
    from orchestrator.axolotl.explain import keys_of

    return [_row(rule) for rule in sorted(keys_of(kind), key=lambda rule: rule.key)]


def _row(rule: Rule) -> dict[str, str]:
    return {"key": rule.key, "field": rule.field or "", "why": rule.reason or rule.bounds}


def _print(rows: Sequence[Mapping[str, str]], form: str) -> None:
    if form == "table":
        click.echo(table([{head.upper(): cell for head, cell in row.items()} for row in rows]))
    else:
        print_data(list(rows), form)
