"""What a key of Axolotl's config, or a field of a spec, is: class, type, default, and our value of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from orchestrator.axolotl.keys import Kind, Rule, key_rules
from orchestrator.axolotl.origin import plain_names
from orchestrator.axolotl.schema import Schema, axolotl_schema
from orchestrator.nearest import nearest
from orchestrator.spec.faults import all_fields
from orchestrator.spec.load import spec_schema
from orchestrator.spec.models import Spec
from orchestrator.spec.names import AXOLOTL_NAMES

CLASSES: Mapping[Kind, str] = {
    "free": "may stand under `axolotl:` with any value of its type",
    "bounded": "may stand under `axolotl:` within bounds",
    "owned": "set by the service; often a field of the spec stands for it",
    "admin": "belongs to the machine, so to the operator",
    "forbidden": "never: it runs code, reaches outside the run, or breaks a promise",
}
_KINDS: Mapping[str, str] = {
    "array": "list",
    "boolean": "true or false",
    "integer": "whole number",
    "number": "number",
    "object": "section",
    "string": "text",
}
_BOUNDS: Mapping[str, str] = {
    "exclusiveMinimum": "greater than",
    "minimum": "at least",
    "exclusiveMaximum": "less than",
    "maximum": "at most",
}


@dataclass(frozen=True)
class Explanation:
    """A key or a field.

    `fields` are those of the spec that stand for a key, `keys` those that a field sets, `holds` the names
    inside a section. `has_default` is False where it must be given. `kind` and `why` are None for a field.
    """

    name: str
    of: Literal["axolotl", "spec"]
    type: str
    has_default: bool
    default: Any = None
    description: str | None = None
    kind: Kind | None = None
    why: str | None = None
    fields: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()


def explain(name: str) -> list[Explanation]:
    """What has this name: a field of a spec, a key of Axolotl, or one of each; nested names have dots.

    A field may be named by its last part, where no other field or key has the same.
    """
    found = [explanation for explanation in (_field(name), _key(name)) if explanation]
    if not found and len(whole := [field for field in _fields() if field.rpartition(".")[2] == name]) == 1:
        found = [explanation for explanation in (_field(whole[0]),) if explanation]
    return found


def nearest_name(name: str) -> str | None:
    """The name that was probably meant."""
    names = [*_fields(), *key_rules()]
    last = {field.rpartition(".")[2]: field for field in _fields()}
    near = nearest(name, [*names, *last])
    return last.get(near, near) if near and near not in names else near


def keys_of(kind: Kind) -> list[Rule]:
    """The keys of one class."""
    return [rule for rule in key_rules().values() if rule.kind == kind]


def _key(name: str) -> Explanation | None:
    top, *inner = plain_names(name)
    rule = key_rules().get(top)
    node, required = _at(axolotl_schema(), [top, *inner])
    if rule is None or node is None:
        return None
    fields = (AXOLOTL_NAMES[top],) if top in AXOLOTL_NAMES else ()
    return Explanation(
        name=name,
        of="axolotl",
        type=(not inner and rule.bounds) or type_of(node, axolotl_schema()),
        has_default=not required,
        default=node.get("default"),
        description=node.get("description"),
        kind=rule.kind,
        why=rule.reason or CLASSES[rule.kind],
        fields=fields,
        holds=_names_in(node, axolotl_schema()),
    )


def _field(name: str) -> Explanation | None:
    schema = _spec_schema()
    node, required = _at(schema, plain_names(name))
    if node is None:
        return None
    keys = tuple(key for key, field in AXOLOTL_NAMES.items() if field == name)
    return Explanation(
        name=name,
        of="spec",
        type=type_of(node, schema),
        has_default=not required,
        default=node.get("default"),
        description=node.get("description"),
        keys=keys,
        holds=_names_in(node, schema),
    )


def type_of(node: Schema, root: Schema) -> str:
    """A JSON Schema's type in words, such as `number, greater than 0, at most 1`; null is left out."""
    if "$ref" in node:
        return type_of(_referred(node, root), root)
    if branches := node.get("anyOf") or node.get("oneOf"):
        words = [type_of(branch, root) for branch in branches if branch.get("type") != "null"]
        return " or ".join(dict.fromkeys(words))
    if choices := node.get("enum") or ([node["const"]] if "const" in node else None):
        return f"one of {', '.join(map(str, choices))}"
    kind = _KINDS.get(str(node.get("type")), "anything")
    if kind == "list" and "items" in node:
        kind = f"list of {type_of(node['items'], root)}"
    bounds = [f"{words} {_figure(node[key])}" for key, words in _BOUNDS.items() if key in node]
    return ", ".join([kind, *bounds])


def _figure(bound: float) -> str:
    return f"{bound:,.0f}" if bound == int(bound) else f"{bound:g}"


def _at(root: Schema, path: Iterable[str]) -> tuple[Schema | None, bool]:
    """The schema of a nested name and whether it must be given; list places are passed over."""
    node: Schema = root
    required = False
    for part in path:
        sections = [section for section in _sections(node, root) if part in section.get("properties", {})]
        if not sections:
            return None, False
        required = part in sections[0].get("required", ())
        node = sections[0]["properties"][part]
    return {**_described(node, root), **node}, required


def _sections(node: Schema, root: Schema) -> list[Schema]:
    """The sections that a value may be, through references, choices and lists."""
    if "$ref" in node:
        return _sections(_referred(node, root), root)
    if "properties" in node:
        return [node]
    inner = [
        *node.get("anyOf", []),
        *node.get("oneOf", []),
        *([node["items"]] if isinstance(node.get("items"), dict) else []),
    ]
    return [section for each in inner for section in _sections(each, root)]


def _names_in(node: Schema, root: Schema) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for section in _sections(node, root) for name in section["properties"]))


def _described(node: Schema, root: Schema) -> Schema:
    """What a section says of itself, for a field that says nothing."""
    section = _referred(node, root) if "$ref" in node else {}
    return {"description": section["description"]} if "description" in section else {}


def _referred(node: Schema, root: Schema) -> Schema:
    found: Schema = root["$defs"][node["$ref"].rpartition("/")[2]]
    return found


@cache
def _spec_schema() -> Schema:
    return spec_schema()


@cache
def _fields() -> tuple[str, ...]:
    return tuple(all_fields(Spec))
