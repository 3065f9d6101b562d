"""Check a config against the schema of the pinned Axolotl, which is stricter here than in Axolotl.

Axolotl ignores a key that it does not know, at the top and inside a dataset; here it is a fault. The
schema is pydantic's own JSON Schema (scripts/axolotl-schema), so the few keywords that pydantic
writes are all there is to check. A general validator would accept unknown keys wherever the schema
does not forbid them, which is what this is for, and would answer an `anyOf` with all its branches.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from orchestrator.nearest import nearest
from orchestrator.spec.document import KeyPath

AXOLOTL_VERSION = "0.19.0"

_FILE = Path(__file__).parent / f"schema-{AXOLOTL_VERSION}.json"
_TYPES: Mapping[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}
_WORDS: Mapping[str, str] = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "a section of keys and values",
    "string": "text",
}

Schema = Mapping[str, Any]


class Problem(NamedTuple):
    """What the schema has against a config: where, what, and the fix if there is one."""

    path: KeyPath
    what: str
    fix: str | None = None


@cache
def axolotl_schema() -> Schema:
    """The vendored JSON Schema of Axolotl's config."""
    schema: Schema = json.loads(_FILE.read_text(encoding="utf-8"))
    return schema


def problems(config: Mapping[str, Any]) -> list[Problem]:
    """Unknown keys, missing keys, and values of another type than Axolotl's."""
    return list(_check(config, axolotl_schema(), ()))


def _check(value: Any, schema: Schema, path: KeyPath) -> Iterator[Problem]:
    if "$ref" in schema:
        schema = axolotl_schema()["$defs"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        yield from _check_any(value, schema["anyOf"], path)
    elif (kind := schema.get("type")) and not _is(value, kind):
        yield Problem(path, f"must be {_WORDS[kind]}")
    else:
        yield from _check_range(value, schema, path)
        if isinstance(value, dict):
            yield from _check_object(value, schema, path)
        elif isinstance(value, list):
            yield from _check_list(value, schema, path)


def _check_any(value: Any, branches: Sequence[Schema], path: KeyPath) -> Iterator[Problem]:
    """Nothing if one branch has nothing against the value; else what the nearest one has.

    Nearest is the branch whose problems lie deepest, so that a list of datasets is compared as a list
    of datasets and a text is not told that it is not null.
    """
    answers = [list(_check(value, branch, path)) for branch in branches]
    if all(answers):
        deepest = max(answers, key=lambda answer: (_depth(answer), -len(answer)))
        choices = dict.fromkeys(problem.what.removeprefix("must be ") for (problem, *_) in answers)
        if _depth(deepest) > len(path) or any(not problem.what.startswith("must be ") for problem in deepest):
            yield from deepest
        else:
            yield Problem(path, f"must be {' or '.join(choice for choice in choices if choice != 'null')}")


def _depth(answer: Sequence[Problem]) -> int:
    return max(len(problem.path) for problem in answer)


def _is(value: Any, kind: str) -> bool:
    """Whether a value has a JSON type; true and false are not numbers."""
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _check_range(value: Any, schema: Schema, path: KeyPath) -> Iterator[Problem]:
    choices = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if choices is not None and value not in choices:
        yield Problem(path, f"must be {' or '.join(map(str, choices))}", _near(value, choices))
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield Problem(path, f"must be text that matches {schema['pattern']}")
    if "minimum" in schema and value < schema["minimum"]:
        yield Problem(path, f"must be {schema['minimum']} or more")
    if "maximum" in schema and value > schema["maximum"]:
        yield Problem(path, f"must be {schema['maximum']} or less")
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        yield Problem(path, f"must be greater than {schema['exclusiveMinimum']}")


def _check_object(value: Mapping[str, Any], schema: Schema, path: KeyPath) -> Iterator[Problem]:
    known, others = schema.get("properties"), schema.get("additionalProperties", True)
    for key, inner in value.items():
        if known and key in known:
            yield from _check(inner, known[key], (*path, key))
        elif known:
            yield Problem((*path, key), "unknown key", _near(key, list(known)))
        elif isinstance(others, dict):
            yield from _check(inner, others, (*path, key))
    for key in schema.get("required", []):
        if key not in value:
            yield Problem((*path, key), "is missing")


def _check_list(value: Sequence[Any], schema: Schema, path: KeyPath) -> Iterator[Problem]:
    if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
        yield Problem(path, f"must have {schema.get('minItems', 0)} entries or more")
    first: Sequence[Schema] = schema.get("prefixItems", [])
    for index, inner in enumerate(value):
        rule = first[index] if index < len(first) else schema.get("items", {})
        yield from _check(inner, rule, (*path, index))


def _near(value: Any, choices: Sequence[Any]) -> str | None:
    near = nearest(str(value), [str(choice) for choice in choices])
    return f"did you mean `{near}`?" if near else None
