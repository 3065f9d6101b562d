"""Mappings that a spec names, put in the places of their names: files, and those of the project."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator.errors import NotFoundError
from orchestrator.spec.base import NAME_PATTERN
from orchestrator.spec.document import MAX_FAULTS, Document, KeyPath, fault_at
from orchestrator.spec.faults import shown
from orchestrator.spec.yaml import MAX_NODES, read_yaml

MAX_MAPPINGS = 100  # that a spec names
MAX_MAPPED = 2 * MAX_NODES  # values and keys of the mappings in the places that name them

# The text of the project's mapping of a name; raises NotFoundError, whose hint tells near ones.
Named = Callable[[str], str]


def inline_mappings(
    document: Document, folder: Path, read: Callable[[Path], bytes], named: Named | None
) -> Document:
    """The document with the mappings that it names in the place of their names, each read once."""
    found: dict[str, Document | NotFoundError] = {}
    parts: dict[KeyPath, Document] = {}
    size = 0
    for path, name in _mapping_names(document):
        if name not in found:
            found[name] = _mapping_of(name, folder, read, named)
        part = found[name]
        if isinstance(part, NotFoundError):
            document = _with_fault(document, path, str(part), part.hint, name)
            if len(document.faults) < MAX_FAULTS:
                continue
            return replace(document, complete=False)
        parts[path] = part
        size += len(part.values) + len(part.keys)
        if size > MAX_MAPPED or len(found) > MAX_MAPPINGS:
            fix = "leave out `mapping` where a source has the spec's, or write shorter ones"
            document = _with_fault(document, path, "too much is named as mappings up to here", fix, name)
            return replace(document, complete=False)
    return document.with_parts(parts)


def _mapping_names(document: Document) -> Iterator[tuple[KeyPath, str]]:
    for path in document.values:
        if path[-1:] == ("mapping",) and path[0] in ("mapping", "dataset"):
            name = _value_at(document.value, path)
            if isinstance(name, str):
                yield path, name


def _with_fault(document: Document, path: KeyPath, what: str, fix: str | None, name: str) -> Document:
    fault = fault_at(document.place(path), what, fix, path=path, value=shown(name))
    return document.with_fault(path, fault)


def _value_at(value: Any, path: KeyPath) -> Any:
    """The value at a path; None where there is none, as below what could not be read."""
    for part in path:
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _mapping_of(
    name: str, folder: Path, read: Callable[[Path], bytes], named: Named | None
) -> Document | NotFoundError:
    """What the file of that name holds, else the project's mapping."""
    file = folder / name
    try:
        return read_yaml(read(file), str(file))
    except (OSError, ValueError):
        if named is None or not re.fullmatch(NAME_PATTERN, name):
            hint = "give a path relative to the spec's folder, or write the mapping here"
            return NotFoundError("there is no such mapping file", hint=hint)
    try:
        return read_yaml(named(name).encode(), str(file))
    except NotFoundError as error:
        what = "neither the spec's folder nor the project has a mapping of this name"
        return NotFoundError(what, hint=error.hint)
