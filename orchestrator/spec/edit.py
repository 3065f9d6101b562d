"""Change values in the text of a spec and leave everything else as it was written, comments too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from orchestrator.errors import Fault, SpecError
from orchestrator.spec.document import KeyPath, dotted
from orchestrator.spec.draft import scalar_text
from orchestrator.spec.yaml import plain_scalar, read_yaml


@dataclass(frozen=True)
class _Node:
    """A value in a text: where it begins and ends, how it is written, and at which column its keys stand."""

    start: int
    end: int
    kind: str
    flow: bool
    column: int = 0
    empty: bool = True


def edited(text: str, values: Mapping[KeyPath, str]) -> str:
    """The text with the values at some paths, given as YAML, in place of those that are there.

    A key that is not there is added to the section around it, and missing sections with it. The text
    must be one that `read_yaml` takes without faults.

    Raises:
        SpecError: a value is no YAML, or its path leads into what is no section.
    """
    for path, value in values.items():
        text = _with_value(text, path, _inline(path, value))
        if read_yaml(text.encode(), "the spec").faults:
            fix = "give a field of the spec, and a value without comments, anchors or tags"
            raise SpecError([Fault("this cannot be written", fix, path=dotted(path), value=value[:60])])
    return text


def _inline(path: KeyPath, value: str) -> str:
    """The value as it may stand in a line: a number or brackets as they are, everything else as text."""
    value = value.strip()
    if value.startswith(("{", "[", '"', "'")):
        document = read_yaml(value.encode(), "the value")
        if document.faults or not document.complete or "\n" in value:
            fix = "close what is open, and give it in one line, such as [a, b] or {kind: full}"
            raise SpecError([Fault("this value is no YAML", fix, path=dotted(path), value=value[:60])])
        return value
    return scalar_text(value) if isinstance(plain_scalar(value), str) else value or "null"


def _with_value(text: str, path: KeyPath, value: str) -> str:
    nodes = dict(_nodes(text))
    if path in nodes:
        return _replaced(text, path, nodes[path], value)
    around = path[:-1]
    while around not in nodes:
        around = around[:-1]
    return _added(text, nodes[around], path[len(around) :], value, around)


def _replaced(text: str, path: KeyPath, node: _Node, value: str) -> str:
    if node.kind != "scalar" and not node.flow:
        fix = f"give one of its fields, such as {dotted((*path, 'field'))}=.."
        raise SpecError([Fault("this is a section, not a value", fix, path=dotted(path))])
    written = text[node.start : node.end]
    tail = "\n" if written.endswith("\n") else ""
    gap = " " if node.start == node.end and text[node.start - 1 : node.start] in (":", "-") else ""
    return f"{text[: node.start]}{gap}{value}{tail}{text[node.end :]}"


def _added(text: str, node: _Node, path: KeyPath, value: str, around: KeyPath) -> str:
    """The text with a key that was not there, as the first of a section or the last inside braces."""
    first, *rest = path
    if any(isinstance(part, int) for part in path) or node.kind == "sequence":
        fix = "name an entry that is there, counted from 0"
        raise SpecError([Fault("the list has no such entry", fix, path=dotted((*around, *path)))])
    for part in reversed(rest):
        value = f"{{{scalar_text(part)}: {value}}}"
    entry = f"{scalar_text(first)}: {value}"
    if node.kind == "scalar":
        return _replaced(text, around, node, f"{{{entry}}}")
    if node.flow:
        comma = "" if node.empty else ", "
        before = text[: node.end - 1].rstrip()
        return f"{before}{comma}{entry}{text[node.end - 1 :]}"
    return f"{text[: node.start]}{entry}\n{' ' * node.column}{text[node.start :]}"


def _nodes(text: str) -> Iterator[tuple[KeyPath, _Node]]:
    """Every value of the text by its path."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    yield from _below(root, ())


def _below(node: Any, path: KeyPath) -> Iterator[tuple[KeyPath, _Node]]:
    start, end = node.start_mark, node.end_mark
    flow = bool(getattr(node, "flow_style", False))
    yield path, _Node(start.index, end.index, node.id, flow, start.column, not node.value)
    if node.id == "mapping":
        for key, value in node.value:
            yield from _below(value, (*path, str(key.value)))
    elif node.id == "sequence":
        for index, value in enumerate(node.value):
            yield from _below(value, (*path, index))
