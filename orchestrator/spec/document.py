"""What a YAML text holds: plain data, the place of every value, and the faults found so far."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from orchestrator.errors import Fault

MAX_FAULTS = 100  # told at once; who has more has one that matters

KeyPath = tuple[str | int, ...]


class Place(NamedTuple):
    """Where something stands: a file, and a line and column that count from 1."""

    file: str
    line: int
    column: int


@dataclass(frozen=True)
class Document:
    """Plain data, the place of every value and key by its path, and the faults of the text.

    `unreadable` holds the paths whose value is not what was written (an alias, a tag): they have
    a fault already. `complete` is False when reading ended early, so nothing else can be said.
    `texts` holds the text of every file that is part of it.
    """

    file: str
    value: Any = None
    values: Mapping[KeyPath, Place] = field(default_factory=dict)
    keys: Mapping[KeyPath, Place] = field(default_factory=dict)
    unreadable: frozenset[KeyPath] = frozenset()
    faults: tuple[Fault, ...] = ()
    complete: bool = True
    texts: Mapping[str, str] = field(default_factory=dict)

    def place(self, path: KeyPath, *, key: bool = False) -> Place:
        """The place of a value (or of its key), or of the key of the nearest section around it."""
        if not key and path in self.values:
            return self.values[path]
        while path:
            if found := self.keys.get(path) or self.values.get(path):  # a list's entries have no key
                return found
            path = path[:-1]
        return Place(self.file, 1, 1)

    def strings(self) -> Iterator[tuple[KeyPath, str]]:
        """Every text and every key in the data."""
        yield from _strings(self.value, ())

    def with_fault(self, path: KeyPath, fault: Fault) -> Document:
        """The document with one more fault, and its value at `path` marked as unreadable."""
        return replace(self, unreadable=self.unreadable | {path}, faults=(*self.faults, fault))

    def with_parts(self, parts: Mapping[KeyPath, Document]) -> Document:
        """The document with others in place of the values at their paths."""
        values, keys, texts = dict(self.values), dict(self.keys), dict(self.texts)
        unreadable, faults = set(self.unreadable), list(self.faults)
        for path, part in parts.items():
            values |= {(*path, *below): place for below, place in part.values.items()}
            keys |= {(*path, *below): place for below, place in part.keys.items()}
            texts |= part.texts
            unreadable |= {(*path, *below) for below in part.unreadable} | (
                set() if part.complete else {path}
            )
            for fault in part.faults:
                faults.append(replace(fault, path=f"{dotted(path)}.{fault.path or ''}".rstrip(".")))
        return replace(
            self,
            value=_with_values(self.value, (), parts),
            values=values,
            keys=keys,
            unreadable=frozenset(unreadable),
            faults=tuple(faults),
            texts=texts,
        )


def _with_values(value: Any, path: KeyPath, parts: Mapping[KeyPath, Document]) -> Any:
    """A value with those of the parts at their paths; `path` is its own."""
    if path in parts:
        return parts[path].value
    if isinstance(value, dict):
        return {key: _with_values(inner, (*path, key), parts) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_values(inner, (*path, number), parts) for number, inner in enumerate(value)]
    return value


def fault_at(
    place: Place,
    what: str,
    fix: str | None = None,
    *,
    why: str | None = None,
    path: KeyPath = (),
    value: str | None = None,
) -> Fault:
    """A fault at a place."""
    return Fault(what, fix, why, *place, path=dotted(path) or None, value=value)


def dotted(path: KeyPath) -> str:
    """`publish[0].mlflow.model` for ("publish", 0, "mlflow", "model")."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def parse_path(text: str) -> KeyPath:
    """The opposite of `dotted`."""
    parts = re.findall(r"[^.\[\]]+|\[[0-9]+\]", text)
    return tuple(int(part[1:-1]) if part.startswith("[") else part for part in parts)


def _strings(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield (*path, key), key
            yield from _strings(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _strings(inner, (*path, index))
