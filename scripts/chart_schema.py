"""The part of the chart's values schema that is the settings file's own: written from its model."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator.settings_file import SettingsFile

# What the chart knows itself, so nobody has to say it twice: by the model that has it.
_OF_THE_CHART: Mapping[str, set[str]] = {
    "SettingsFile": {"backend", "docker"},
    "KubernetesSection": {
        "namespace",
        "service_image",
        "trainer_image",
        "storage_claim",
        "secrets",
        "job",
        "context",
    },
    "AccessSection": {"required", "metrics"},
}


def settings_models() -> dict[str, Any]:
    """The models of the settings as values of the chart, each under its name."""
    whole = SettingsFile.model_json_schema()
    models = {**whole.pop("$defs"), "SettingsFile": whole}
    del models["DockerSection"]
    return {name: _as_value(model, _OF_THE_CHART.get(name, set())) for name, model in sorted(models.items())}


def with_settings(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {**schema, "$defs": settings_models()}


def _as_value(model: Mapping[str, Any], left_out: set[str]) -> dict[str, Any]:
    """A model without the fields that the chart fills in, and without titles, which repeat names."""
    fields = {
        name: {key: value for key, value in field.items() if key != "title"}
        for name, field in model["properties"].items()
        if name not in left_out
    }
    required = [name for name in model.get("required", []) if name not in left_out]
    kept = {key: model[key] for key in ("type", "description", "additionalProperties") if key in model}
    return {**kept, "properties": fields, **({"required": required} if required else {})}


def main(file: Path) -> int:
    schema = with_settings(json.loads(file.read_text(encoding="utf-8")))
    file.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
