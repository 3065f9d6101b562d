"""The OpenAPI document tells of every route what it does, takes, answers and refuses, with examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.api.app import make_app
from orchestrator.api.document import examples, operations
from orchestrator.host import open_host
from orchestrator.service import LOCAL
from orchestrator.settings import Settings

PLAIN = {"application/octet-stream", "application/yaml", "application/x-ndjson", "text/plain"}


@pytest.fixture
def document(tmp_path: Path) -> dict[str, Any]:
    with open_host(Settings.from_environment({"AXO_HOME": str(tmp_path)})) as host:
        found: dict[str, Any] = make_app(host.service, LOCAL).openapi()
    return found


def named(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema, or the one that it refers to; of a list that of its entries."""
    if "$ref" in schema:
        found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return found
    return named(document, schema["items"]) if schema.get("type") == "array" else schema


def told(document: dict[str, Any], content: dict[str, Any]) -> bool:
    """Whether a body is described: with an example where it is JSON of ours."""
    if set(content) <= PLAIN:
        return True
    [body] = content.values()
    schema = named(document, body["schema"])
    return bool(schema.get("examples")) or (schema.get("type") == "object" and "properties" not in schema)


def test_every_route_is_told_whole(document: dict[str, Any]) -> None:
    lacking: list[str] = []
    for operation in operations(document):
        name = operation["operationId"]
        summary = operation["summary"]
        if len(summary.split()) < 2 or "_" in summary:
            lacking.append(f"{name}: no sentence")
        for code, answer in operation["responses"].items():
            if code != "204" and "content" in answer and not told(document, answer["content"]):
                lacking.append(f"{name}: no example of its answer {code}")
        if "requestBody" in operation and not told(document, operation["requestBody"]["content"]):
            lacking.append(f"{name}: no example of its body")
        if "default" not in operation["responses"]:
            lacking.append(f"{name}: not what is refused")
        if not any(code.startswith("2") for code in operation["responses"]):
            lacking.append(f"{name}: no answer")
    assert lacking == []


def test_names_of_operations_are_their_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(document)]
    assert len(names) == len(set(names)) > 25


def test_an_example_says_something_of_what_it_is(document: dict[str, Any]) -> None:
    for body in examples():
        schema = document["components"]["schemas"].get(type(body).__name__)
        if schema is None:
            assert type(body).__name__ == "LogPart"  # lines of a stream
            continue
        assert set(schema.get("required", ())) <= set(schema["examples"][0])
