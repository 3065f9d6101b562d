"""The safe YAML reader: plain data with the place of every value, and every fault of the text.

What a spec needs of YAML and no more: mappings, lists, scalars. No tags, anchors, aliases, merge
keys or second documents; size, depth and number of values are capped. Plain scalars follow the
core schema of YAML 1.2 where it and YAML 1.1 agree on the meaning, and `2e-4` is a number; where
they do not agree (`yes`, `017`, `0o17`, `1_000`, `.inf`) the scalar stays text, so nobody's reader
means another number.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from orchestrator.errors import Fault
from orchestrator.spec.document import MAX_FAULTS, Document, KeyPath, Place, fault_at

MAX_BYTES = 128 << 10
MAX_DEPTH = 32
MAX_NODES = 5_000

_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_LONGEST_NUMBER = 32
_CONSTANTS: Mapping[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_NOT_PRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OTHER_ENCODINGS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_SYNTAX_FIX = "look at the indentation, at brackets and quotes that do not close, and at `: ` inside text"


def read_yaml(data: bytes, file: str) -> Document:
    """Read one YAML document; whatever is wrong with `data` is a fault of the document."""
    start = Place(file, 1, 1)
    if len(data) > MAX_BYTES:
        fault = fault_at(start, f"the file is larger than {MAX_BYTES >> 10} KiB", "keep data out of the spec")
        return Document(file, faults=(fault,), complete=False)
    if data.startswith(_OTHER_ENCODINGS):
        what = "the byte order mark says that the file is UTF-16 or UTF-32"
        return Document(file, faults=(fault_at(start, what, "save it as UTF-8"),), complete=False)
    return _decoded(data.removeprefix(codecs.BOM_UTF8), file)


def plain_scalar(text: str) -> str | int | float | bool | None:
    """What an unquoted scalar means."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if len(text) > _LONGEST_NUMBER:
        return text
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
        return number
    return text


def _decoded(data: bytes, file: str) -> Document:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        place = _place_after(data[: error.start].decode(), file)
        fault = fault_at(place, f"byte 0x{data[error.start]:02x} is not UTF-8", "save the file as UTF-8")
        return Document(file, faults=(fault,), complete=False)
    if found := _NOT_PRINTABLE.search(text):
        place = _place_after(text[: found.start()], file)
        fault = fault_at(place, f"character U+{ord(found[0]):04X} may not stand in YAML", "remove it")
        return Document(file, faults=(fault,), complete=False)
    return _Reader(text, file).read()


def _place_after(before: str, file: str) -> Place:
    lines = before.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return Place(file, len(lines), len(lines[-1]) + 1)


class _TooMuch(Exception):
    """A cap was reached."""


class _Reader:
    """One pass over the parser's events; they are made on demand, so a cap ends the work early."""

    def __init__(self, text: str, file: str) -> None:
        self._text, self._file = text, file
        self._events: Iterator[Any] = yaml.parse(text, Loader=yaml.CSafeLoader)
        self._values: dict[KeyPath, Place] = {}
        self._keys: dict[KeyPath, Place] = {}
        self._unreadable: set[KeyPath] = set()
        self._faults: list[Fault] = []
        self._nodes = 0

    def read(self) -> Document:
        value, complete = None, False
        try:
            value = self._document()
            complete = True
        except yaml.YAMLError as error:
            self._faults.append(self._syntax_fault(error))
        except _TooMuch:
            pass
        return Document(
            file=self._file,
            value=value,
            values=self._values,
            keys=self._keys,
            unreadable=frozenset(self._unreadable),
            faults=tuple(self._faults),
            complete=complete,
            texts={self._file: self._text},
        )

    def _document(self) -> Any:
        value = None
        next(self._events)  # the start of the stream
        if isinstance(next(self._events), yaml.DocumentStartEvent):
            value = self._node(next(self._events), ())
            next(self._events)  # the end of the document
            if isinstance(event := next(self._events), yaml.DocumentStartEvent):
                self._fault(event, "a second document starts here", "keep one document in a file")
        return value

    def _node(self, event: Any, path: KeyPath) -> Any:
        self._count(event, path)
        self._values[path] = self._place(event)
        self._refuse(event, path)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        if isinstance(event, yaml.ScalarEvent):
            return event.value if event.style else plain_scalar(event.value)
        return None

    def _mapping(self, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path)
            at = (*path, key)
            if key in found:
                what = f"this key is here twice; the first is on line {self._keys[at].line}"
                self._fault(event, what, "keep one of the two", at)
                self._skip(next(self._events))
                continue
            self._keys[at] = self._place(event)
            found[key] = self._node(next(self._events), at)
        return found

    def _sequence(self, path: KeyPath) -> list[Any]:
        found: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            found.append(self._node(event, (*path, len(found))))
        return found

    def _key(self, event: Any, path: KeyPath) -> str:
        """The text of a key; a list, mapping or alias as a key is a fault and spoils what is around it."""
        self._count(event, path)
        if isinstance(event, yaml.ScalarEvent):
            self._refuse(event, path)
            return str(event.value)
        self._fault(event, "a key must be text", "quote it if it is meant as text", path)
        self._unreadable.add(path)
        self._skip(event)
        return f"\0{self._nodes}"

    def _skip(self, event: Any) -> None:
        """Pass over the rest of the value that starts with `event`."""
        depth = 0
        while depth := depth + _deeper(event):
            event = next(self._events)
            self._count(event, ("",) * depth)

    def _count(self, event: Any, path: KeyPath) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._fault(event, f"more than {MAX_NODES} values", "keep data out of the spec")
            raise _TooMuch
        if len(path) > MAX_DEPTH:
            self._fault(event, f"nested deeper than {MAX_DEPTH} levels", "a spec needs five")
            raise _TooMuch

    def _refuse(self, event: Any, path: KeyPath) -> None:
        """Name what no value needs. A NUL comes by an escape such as `\\0`: raw ones are refused before."""
        if isinstance(event, yaml.AliasEvent):
            self._fault(event, f"the alias *{event.anchor} is not allowed", "write the value out", path)
        elif event.anchor is not None:
            self._fault(event, f"the anchor &{event.anchor} is not allowed", "remove it", path)
        elif event.tag is not None:
            self._fault(event, f"the tag {event.tag} is not allowed", "remove it", path)
        elif isinstance(event, yaml.ScalarEvent) and "\0" in event.value:
            self._fault(event, "a NUL in a text is not allowed", r"remove the \0, \x00 or \u0000", path)
        else:
            return
        self._unreadable.add(path)

    def _place(self, event: Any) -> Place:
        return Place(self._file, event.start_mark.line + 1, event.start_mark.column + 1)

    def _fault(self, event: Any, what: str, fix: str, path: KeyPath = ()) -> None:
        self._faults.append(fault_at(self._place(event), what, fix, path=path))
        if len(self._faults) >= MAX_FAULTS:
            raise _TooMuch

    def _syntax_fault(self, error: yaml.YAMLError) -> Fault:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        if mark is None:
            return fault_at(Place(self._file, 1, 1), "this is not YAML", why=str(error).splitlines()[0])
        indentation = re.match(r"\s*", self._line(mark.line))
        if indentation and "\t" in indentation[0]:
            place = Place(self._file, mark.line + 1, indentation[0].index("\t") + 1)
            return fault_at(place, "a tab in the indentation, where YAML has spaces", "indent with spaces")
        place = Place(self._file, mark.line + 1, mark.column + 1)
        return fault_at(place, "this is not YAML", _SYNTAX_FIX, why=getattr(error, "problem", None))

    def _line(self, number: int) -> str:
        lines = re.split(r"\r\n|[\r\n\x85\u2028\u2029]", self._text)  # the line breaks of the parser
        return lines[number] if number < len(lines) else ""


def _deeper(event: Any) -> int:
    return isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
