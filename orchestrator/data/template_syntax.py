"""Whether texts are Jinja templates at all: told at once, before any data is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.parser import Parser
from pydantic import BaseModel

from orchestrator.errors import Fault
from orchestrator.spec.models import Mapping, Spec

SYNTAX = Environment()
MAX_TOKENS = 5_000  # of one template; to parse ten thousand takes a tenth of a second
Tree = TypeVar("Tree", bound=nodes.Node)


class NotJinja(Exception):
    """A text that is no template; `line` counts from 1 inside it."""

    def __init__(self, what: str, line: int | None) -> None:
        super().__init__(what)
        self.fault = Fault(
            what, "write {{ column }} for a value and {% if .. %} .. {% endif %} for a choice", line=line
        )


def parse(source: str) -> nodes.Template:
    """The syntax tree of a template. Raises NotJinja."""
    return _guarded(source, lambda: SYNTAX.parse(source))


def parse_condition(source: str) -> nodes.Node:
    """The syntax tree of a bare expression. Raises NotJinja."""
    return _guarded(source, lambda: _expression(source), "variable")


def syntax_faults(spec: Spec) -> list[Fault]:
    """What is no Jinja in a spec's mappings, each at its path; many templates are not all looked at."""
    faults, left = [], 2 * MAX_TOKENS
    for path, source, parser in _templates(spec):
        if (left := left - _tokens(source)) < 0:
            break
        try:
            parser(source)
        except NotJinja as error:
            faults.append(at_path(path, error.fault))
    return faults


def at_path(path: str, fault: Fault) -> Fault:
    """A template's fault at its path in the spec; its place inside the template goes into the words."""
    column = f", column {fault.column}" if fault.column else ""
    inside = f"line {fault.line}{column} of the template" if fault.line else None
    why = "; ".join(part for part in (fault.why, inside) if part) or None
    return replace(fault, path=path, line=None, column=None, why=why)


def _guarded(source: str, parser: Callable[[], Tree], state: str | None = None) -> Tree:
    try:
        if _tokens(source, state) > MAX_TOKENS:
            raise NotJinja(f"this is more than {MAX_TOKENS} words and signs of Jinja", None)
        return parser()
    except TemplateSyntaxError as error:
        raise NotJinja(error.message or "this is not Jinja", error.lineno) from error
    except RecursionError as error:
        raise NotJinja("this is nested too deeply", None) from error


def _tokens(source: str, state: str | None = None) -> int:
    """How many tokens a template has, counted to a little more than the most that is allowed."""
    try:
        tokens = SYNTAX.lexer.tokeniter(source, None, state=state)
        return sum(1 for _ in islice(tokens, MAX_TOKENS + 1))
    except TemplateSyntaxError:
        return 0


def _expression(source: str) -> nodes.Node:
    parser = Parser(SYNTAX, source, state="variable")
    tree = parser.parse_expression()
    if not parser.stream.eos:
        parser.fail("there is something after the expression")
    return tree


def _templates(spec: Spec) -> Iterator[tuple[str, str, Callable[[str], nodes.Node]]]:
    """Every template of a spec: its path, its text, how it is read."""
    for path, mapping in _mappings(spec, ""):
        for number, message in enumerate(mapping.messages or ()):
            yield f"{path}.messages[{number}].content", message.content, parse
        if mapping.text is not None:
            yield f"{path}.text", mapping.text, parse
        if mapping.where is not None:
            yield f"{path}.where", mapping.where, parse_condition


def _mappings(value: Any, path: str) -> Iterator[tuple[str, Mapping]]:
    if isinstance(value, Mapping):
        yield path, value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _mappings(getattr(value, name), f"{path}.{name}".removeprefix("."))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _mappings(each, f"{path}[{number}]")
