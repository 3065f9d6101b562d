"""Faults in the user's words: what pydantic found, with its place, the reason and the fix."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from orchestrator.errors import Fault
from orchestrator.nearest import nearest
from orchestrator.spec.base import ALIAS_PATTERN, NAME_PATTERN
from orchestrator.spec.document import MAX_FAULTS, Document, KeyPath, dotted, fault_at
from orchestrator.spec.models import Spec
from orchestrator.spec.names import AXOLOTL_NAMES, OTHER_NAMES
from orchestrator.spec.secrets import redact
from orchestrator.spec.yaml import plain_scalar

_LONGEST_VALUE = 60
_LONGEST_READ = 2_000  # characters of a value that are looked at to show it

_RULES: Mapping[str, str] = {
    "bool_type": "must be true or false",
    "dict_type": "must be a section of keys and values",
    "float_type": "must be a number",
    "greater_than": "must be greater than {gt:.10g}",
    "greater_than_equal": "must be {ge:.10g} or more",
    "int_type": "must be a whole number",
    "less_than": "must be less than {lt:.10g}",
    "less_than_equal": "must be {le:.10g} or less",
    "list_type": "must be a list",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "model_type": "must be a section of keys and values",
    "string_too_long": "must have {max_length} characters or fewer",
    "string_too_short": "must not be empty",
    "string_type": "must be text",
    "too_long": "must have {max_length} entries or fewer",
    "too_short": "must have {min_length} entries or more",
}
_PATTERNS: Mapping[str, str] = {
    NAME_PATTERN: "must be lower case letters, digits and inner hyphens, 48 characters or fewer",
    ALIAS_PATTERN: "must start with a letter and hold letters, digits, hyphens and underscores, 100 or fewer",
}
# What people mean by other names of roles and methods.
_MEANT: Mapping[str, str] = {
    **dict.fromkeys(("human", "customer", "prompt", "instruction"), "user"),
    **dict.fromkeys(("gpt", "bot", "ai", "model", "agent", "chatbot", "completion"), "assistant"),
    **dict.fromkeys(("instructions", "developer"), "system"),
    **dict.fromkeys(("supervised", "instruct", "finetune", "fine-tune", "chat"), "sft"),
    **dict.fromkeys(("cpt", "continued", "completions", "clm", "text"), "pretrain"),
}
# What people mean who give a section one value.
_MAIN_FIELDS: Mapping[str, str] = {
    "adapter": "kind",
    "compute": "machine",
    "conversation": "column",  # of a mapping in a file of its own
    "dataset": "source",
    "mapping.conversation": "column",
    "tracking": "experiment",
}
_TRUTHS: Mapping[str, str] = {
    "yes": "true",
    "on": "true",
    "y": "true",
    "no": "false",
    "off": "false",
    "n": "false",
}


def spec_faults(error: ValidationError, document: Document, root: type[BaseModel] = Spec) -> list[Fault]:
    """Every error of pydantic as a fault, in the order of their places; `root` is the model of the document.

    Errors at values that could not be read (they have a fault already) are left out, and the
    several errors of a field that may be one of several types become one.
    """
    at: dict[KeyPath, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False)[:MAX_FAULTS]:
        at.setdefault(_path(detail, document), []).append(detail)
    faults = [
        _fault(details, path, document, root)
        for path, details in at.items()
        if not any(_touches(path, unreadable) for unreadable in document.unreadable)
    ]
    return sorted(faults, key=lambda fault: (fault.file != document.file, fault.line or 0, fault.column or 0))


def shown(value: Any) -> str:
    """A value as the user wrote it, cut to one short line, secrets left out."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = text[:_LONGEST_READ]
    text = " ".join(redact(text).split()) if text.strip() else json.dumps(text)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def without_secrets(fault: Fault) -> Fault:
    """The fault with whatever looks like a secret cut short in every text."""
    return replace(
        fault,
        what=redact(fault.what),
        fix=fault.fix and redact(fault.fix),
        why=fault.why and redact(fault.why),
        path=fault.path and redact(fault.path),
        value=fault.value and redact(fault.value),
    )


def _path(detail: ErrorDetails, document: Document) -> KeyPath:
    """The path of an error in the document, without the union members pydantic puts into it."""
    path: KeyPath = ()
    for part in detail["loc"]:
        if (*path, part) in document.values:
            path = (*path, part)
    return (*path, detail["loc"][-1]) if detail["type"] == "missing" else path


def _touches(path: KeyPath, other: KeyPath) -> bool:
    return path[: len(other)] == other or other[: len(path)] == path


def _fault(
    details: Sequence[ErrorDetails], path: KeyPath, document: Document, root: type[BaseModel]
) -> Fault:
    detail = _telling(details)
    if detail["type"] == "extra_forbidden":
        place = document.place(path, key=True)
        return fault_at(place, "unknown key", _unknown_key_fix(path, root), path=path)
    if detail["type"] == "spec_rule":
        path = (*path, *detail["ctx"]["at"])
        return fault_at(
            document.place(path, key=True), detail["ctx"]["what"], detail["ctx"]["fix"], path=path
        )
    value, known = _value(detail), _field(path, root)
    return fault_at(
        document.place(path, key=value is None),
        _rule(detail, details, path),
        _fix(detail, path),
        why=known.description if known else None,
        path=path,
        value=None if value is None else shown(value),
    )


def _telling(details: Sequence[ErrorDetails]) -> ErrorDetails:
    """Of the errors of a union's members, the one that is about the value rather than its type."""
    return next((detail for detail in details if not detail["type"].endswith("_type")), details[0])


def _value(detail: ErrorDetails) -> str | int | float | None:
    """The value that an error is about, where it fits into a line."""
    value = detail["input"]
    return value if detail["type"] != "missing" and isinstance(value, str | int | float) else None


def _rule(detail: ErrorDetails, details: Sequence[ErrorDetails], path: KeyPath) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"must match {context['pattern']}")
    if kind.endswith("_type"):
        return " or ".join(_RULES.get(each["type"], each["msg"]) for each in details).replace(
            " or must be", " or"
        )
    if kind in _RULES:
        return _RULES[kind].format(**context).replace("'", "`")
    return detail["msg"].removeprefix("Value error, ")


def _fix(detail: ErrorDetails, path: KeyPath) -> str | None:
    kind, value = detail["type"], detail["input"]
    if kind == "missing":
        return f"add `{path[-1]}:`"
    if kind.endswith("_type"):
        return _type_fix(kind, value) or _section_fix(kind, path, value)
    if kind == "literal_error":
        choices = re.findall(r"'([^']*)'", detail["ctx"]["expected"])
        word = str(value).lower()
        near = _MEANT.get(word) if _MEANT.get(word) in choices else nearest(word, choices)
        return f"did you mean `{near}`?" if near else None
    if kind == "string_pattern_mismatch" and detail["ctx"]["pattern"] == NAME_PATTERN:
        slug = (
            re.sub(r"[^a-z0-9]+", "-", redact(str(value)[:_LONGEST_READ]).lower()).strip("-")[:48].strip("-")
        )
        return f"write `{slug}`" if slug else None
    return None


def _type_fix(kind: str, value: Any) -> str | None:
    if value is None:
        return "give it a value, or remove the key"
    if kind == "string_type" and isinstance(value, int | float):
        return f'put it in quotes: "{shown(value)}"'
    if kind == "bool_type" and str(value).lower() in _TRUTHS:
        return f"write {_TRUTHS[str(value).lower()]}"
    if kind == "int_type" and isinstance(value, float) and value.is_integer():
        return f"write {int(value)}"
    if kind in ("int_type", "float_type") and isinstance(value, str):
        plain = re.sub(r"^0+(?=[0-9])", "", value.replace("_", "").strip())
        number = isinstance(plain_scalar(plain), int | float)
        return f"write {plain}, a plain number without quotes" if number else None
    return None


def _section_fix(kind: str, path: KeyPath, value: Any) -> str | None:
    """How to write the one value that was given for a section."""
    inside = _MAIN_FIELDS.get(dotted(path))
    given = isinstance(value, str) and kind in ("model_type", "dict_type")
    return f"write `{path[-1]}: {{{inside}: {shown(value)}}}`" if inside and given else None


def _unknown_key_fix(path: KeyPath, root: type[BaseModel]) -> str:
    key = str(path[-1])
    model = _model(path[:-1], root)
    near = nearest(key, model.model_fields) if model and key not in OTHER_NAMES else None
    if near:
        return f"did you mean `{near}`?"
    if elsewhere := _elsewhere(key, path, root):
        return f"did you mean {' or '.join(f'`{name}`' for name in elsewhere)}?"
    return f"the keys here are {', '.join(model.model_fields)}" if model else "remove it"


def _elsewhere(key: str, path: KeyPath, root: type[BaseModel]) -> list[str]:
    """Fields of other sections with this name, or that Axolotl calls by it."""
    found = [name for name in all_fields(root) if name.rpartition(".")[2] == key and name != dotted(path)]
    top = min((name.count(".") for name in found), default=0)
    known = AXOLOTL_NAMES.get(key) or OTHER_NAMES.get(key)
    return [name for name in found if name.count(".") == top] or ([known] if root is Spec and known else [])


def all_fields(model: type[BaseModel], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, field in model.model_fields.items():
        names.append(f"{prefix}{name}")
        inner = _inner_model(field.annotation)
        names += all_fields(inner, f"{prefix}{name}.") if inner else []
    return names


def _field(path: KeyPath, root: type[BaseModel]) -> FieldInfo | None:
    """The field of the models that a path names; list places are passed over."""
    names = [part for part in path if isinstance(part, str)]
    model = _model(tuple(names[:-1]), root) if names else None
    return model.model_fields.get(names[-1]) if model else None


def _model(path: KeyPath, root: type[BaseModel]) -> type[BaseModel] | None:
    """The model of the section at a path, if there is one."""
    model: type[BaseModel] | None = root
    names = iter(part for part in path if isinstance(part, str))
    for name in names:
        field = model.model_fields.get(name) if model else None
        model = _inner_model(field.annotation) if field else None
        if field and get_origin(field.annotation) is dict:
            next(names, None)  # the name of an entry is the user's own
    return model


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as `list[Target]` or `Mapping | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_inner_model, get_args(annotation))), None)
