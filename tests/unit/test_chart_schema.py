"""The schema of the chart's values is closed, knows every value, and has the settings of the code."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml
from chart_schema import with_settings
from helm import CHART

from orchestrator import __version__

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
CHART_YAML = yaml.safe_load((CHART / "Chart.yaml").read_text())


def test_its_settings_are_those_of_the_code() -> None:
    assert with_settings(SCHEMA) == SCHEMA, "run scripts/reference"


def test_every_value_has_a_default_a_rule_and_a_comment() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    assert set(leaves(DEFAULTS, SCHEMA)) == set(ruled(SCHEMA)) - {"global"}
    bare = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if ":" in line and not line.lstrip().startswith("#") and not before.lstrip().startswith("#")
    ]
    assert bare == []


def test_no_unknown_key_is_let_in_anywhere() -> None:
    assert list(open_ones(SCHEMA)) == []


def test_the_chart_is_of_this_version() -> None:
    assert (CHART_YAML["apiVersion"], CHART_YAML["version"]) == ("v2", __version__)
    assert CHART_YAML["appVersion"] == __version__


def test_it_reads_nothing_of_the_cluster_and_makes_nothing_up() -> None:
    calls = re.compile(r"\b(lookup|rand\w+|uuidv4|now|gen\w+|derivePassword)\b")
    written = [line for file in CHART.glob("templates/*") for line in file.read_text().splitlines()]
    assert [line for line in written if "{{" in line and calls.search(line)] == []


def ruled(schema: Any, path: str = "") -> Iterator[str]:
    """The path of every value that the schema has a rule for."""
    for name, rule in schema["properties"].items():
        at = f"{path}.{name}".lstrip(".")
        yield from ruled(rule, at) if "properties" in rule else [at]


def leaves(values: Any, schema: Any, path: str = "") -> Iterator[str]:
    """The path of every default, as deep as the schema has rules of its own."""
    for name, value in values.items():
        at, rule = f"{path}.{name}".lstrip("."), schema["properties"].get(name, {})
        yield from leaves(value, rule, at) if "properties" in rule else [at]


def open_ones(schema: Any, path: str = "") -> Iterator[str]:
    """Objects with named keys that would take any other key too."""
    if isinstance(schema, dict):
        if "properties" in schema and schema.get("additionalProperties") is not False:
            yield path
        for name, part in schema.items():
            yield from open_ones(part, f"{path}/{name}")
