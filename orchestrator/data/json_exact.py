"""JSON read exactly, with Python's own reader: names what a fast reader fails on, or passes over in silence.

Duplicate keys, lone surrogates, NaN, integers beyond 64 bits, and fields of several kinds have no one
meaning that every reader agrees on, so each is a fault with its line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import isinf
from typing import Any

from orchestrator.data.json_items import too_deep
from orchestrator.data.report import cut
from orchestrator.errors import Fault

MAX_FAULTS = 20
_LARGEST, _SMALLEST = 2**63 - 1, -(2**63)
# What a message says, which OpenAI's form has as a text or as a list of parts, each with fields of its own.
_CONTENT, _PARTS = re.compile(r"\[\]\.content$"), re.compile(r"\[\]\.content\[\]")


@dataclass(frozen=True)
class _Place:
    line: int
    row: int


@dataclass
class ExactReader:
    """Reads rows one by one and keeps what is wrong with them.

    `text_fields` are fields known to hold text in other rows, dotted, a list's items as `[]`.
    """

    file: str
    text_fields: frozenset[str] = frozenset()
    faults: list[Fault] = field(default_factory=list)
    _kinds: dict[str, dict[str, _Place]] = field(default_factory=dict)
    _counts: dict[tuple[str, str], int] = field(default_factory=dict)
    _noted: list[tuple[str, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._decoder = json.JSONDecoder(
            object_pairs_hook=self._object,
            parse_constant=self._constant,
            parse_int=self._integer,
            parse_float=self._decimal,
        )

    @property
    def full(self) -> bool:
        """Enough was found; a file of another kind would have a fault in each line."""
        return len(self.faults) >= MAX_FAULTS

    def read(self, lines: Iterable[tuple[int, int, str]]) -> None:
        """Read (line, row, text) triples, until there are 20 faults."""
        for line, row, text in lines:
            self.line(text, line, row)
            if self.full:
                break

    def line(self, text: str, line: int, row: int) -> None:
        """Read a line that must be one object."""
        try:
            value = self._decoder.decode(text)
        except json.JSONDecodeError as error:
            fix = "write one JSON object per line, each whole"
            self.faults.append(_broken(self.file, line, error.colno, error.msg, fix, row, text))
        except RecursionError:
            self.faults.append(too_deep(self.file, line, row))
        else:
            self._row(value, _Place(line, row))

    def found(self) -> list[Fault]:
        """Every fault, fields of several kinds last."""
        return [*self.faults, *(self._mixed(name, self._kinds[name]) for name in self._several())][
            :MAX_FAULTS
        ]

    @property
    def parted(self) -> bool:
        """Whether all that is wrong is that messages hold a text here, a list of parts there."""
        several = self._several()
        return bool(several) and not self.faults and all(map(self._of_parts, several))

    def _of_parts(self, name: str) -> bool:
        texts_and_lists = self._kinds[name].keys() <= {"text", "a list"}
        return bool(_PARTS.search(name)) or (bool(_CONTENT.search(name)) and texts_and_lists)

    def _row(self, value: Any, place: _Place) -> None:
        for what, name, shown in self._noted:
            self._fault(what, _FIXES[what], place, name, shown)
        self._noted.clear()
        if not isinstance(value, dict):
            fix = 'write each row as an object: {"column": "value"}'
            self._fault("the row is not an object", fix, place, None, json.dumps(value))
            return
        for key, entry in value.items():
            self._walk(entry, key, place)

    def _walk(self, value: Any, path: str, place: _Place) -> None:
        kind = _kind(value)
        if kind is None:
            return
        self._kinds.setdefault(path, {}).setdefault(kind, place)
        self._counts[path, kind] = self._counts.get((path, kind), 0) + 1
        if isinstance(value, str) and _has_surrogate(value):
            shown = value.encode("ascii", "backslashreplace").decode()
            self._fault(_SURROGATE, _FIXES[_SURROGATE], place, path, shown)
        elif isinstance(value, Mapping):
            for key, entry in value.items():
                self._walk(entry, f"{path}.{key}", place)
        elif isinstance(value, list):
            for entry in value:
                self._walk(entry, f"{path}[]", place)

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            seen: set[str] = set()
            for key, entry in pairs:
                if key in seen:
                    self._noted.append((_DUPLICATE, key, json.dumps(entry, default=str)))
                seen.add(key)
        return value

    def _constant(self, text: str) -> None:
        self._noted.append((_CONSTANT, "", text))

    def _integer(self, text: str) -> int:
        if len(text) < 19 or _SMALLEST <= int(text[:25]) <= _LARGEST:
            return int(text)
        self._noted.append((_INTEGER, "", text))
        return 0

    def _decimal(self, text: str) -> float:
        if isinf(value := float(text)):
            self._noted.append((_DECIMAL, "", text))
            return 0.0
        return value

    def _several(self) -> list[str]:
        """Fields of several kinds."""
        return [
            name
            for name, kinds in self._kinds.items()
            if len(kinds) + (name in self.text_fields and "text" not in kinds) > 1
        ]

    def _mixed(self, name: str, kinds: Mapping[str, _Place]) -> Fault:
        rarest = min(
            kinds, key=lambda kind: (name in self.text_fields and kind == "text", self._counts[name, kind])
        )
        others = sorted(({*kinds} | ({"text"} if name in self.text_fields else set())) - {rarest})
        what = f"this field holds {rarest} here, {' and '.join(others)} in other rows"
        place = kinds[rarest]
        fix = "write the same kind of value in every row"
        return Fault(what, fix, file=self.file, line=place.line, row=place.row, path=name)

    def _fault(self, what: str, fix: str, place: _Place, path: str | None, value: str) -> None:
        if not self.full:
            self.faults.append(
                Fault(what, fix, None, self.file, place.line, None, path or None, place.row, cut(value))
            )


_DUPLICATE = "the key stands twice in one object"
_CONSTANT = "this is no JSON value"
_INTEGER = "the integer has more than 64 bits"
_DECIMAL = "the number is larger than 64 bits can hold"
_SURROGATE = "half of a surrogate pair stands alone in the text"
_FIXES = {
    _DUPLICATE: "remove one of them: readers disagree on which counts",
    _CONSTANT: "write null, or a number",
    _INTEGER: "write it as text, in quotes",
    _DECIMAL: "write it as text, in quotes",
    _SURROGATE: "write the character whole; an emoji was cut in two",
}


def _kind(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _broken(file: str, line: int, column: int, why: str, fix: str, row: int | None, value: str) -> Fault:
    return Fault("this is not valid JSON", fix, why, file, line, column, None, row, cut(value))
