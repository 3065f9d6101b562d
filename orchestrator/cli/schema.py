"""`axo schema`: the JSON Schemas of what people write, for editors and checks."""

from __future__ import annotations

import json
from pathlib import Path

import click

from orchestrator.cli.files import write_whole
from orchestrator.cli.output import note


@click.command("schema")
@click.argument("which", type=click.Choice(("spec", "settings")), default="spec")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it into this file instead."
)
def command(which: str, output: Path | None) -> None:
    """Print the JSON Schema of a spec, or of the operator's settings file.

    An editor that speaks YAML completes and checks a spec whose first line is
    `# yaml-language-server: $schema=.spec.schema.json`.

    \b
    Examples:
      axo schema --output .spec.schema.json
      axo schema settings
    """
    text = spec_schema_text() if which == "spec" else _settings_schema_text()
    if output is None:
        click.echo(text, nl=False)
    else:
        write_whole(output, text)
        note(f"wrote {output}")


def spec_schema_text() -> str:
    """The schema of a spec as text, the same for the same version."""
    from orchestrator.spec.load import spec_schema

    return json.dumps(spec_schema(), indent=1, ensure_ascii=False) + "\n"


def _settings_schema_text() -> str:
    from orchestrator.settings_file import SettingsFile

    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **SettingsFile.model_json_schema()}
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"
