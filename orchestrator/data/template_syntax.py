"""Whether texts are Jinja templates at all: told at once, before any data is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, TypeVar

from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.parser import Parser
from pydantic import BaseModel

from orchestrator.errors import Fault
from orchestrator.spec.mapping import Mapping
from orchestrator.spec.models import Spec

SYNTAX = Environment()
MAX_TOKENS = 5_000  # of one template; to parse ten thousand takes a tenth of a second
Tree = TypeVar("Tree", bound=nodes.Node)
_WORDS = re.compile(r"\{\{-?\s*(\w+(?: +\w+)+)\s*(?=\||-?\}\})")
_CONDITION = "write a condition over columns, such as `queue != 'spam'` or `answer | trim`"
_OPERATORS = {"and", "or", "not", "in", "is", "if", "else"}


class NotJinja(Exception):
    """A text that is no template; `line` counts from 1 inside it."""

    def __init__(self, what: str, line: int | None, fix: str | None = None) -> None:
        super().__init__(what)
        usual = "write {{ column }} for a value and {% if .. %} .. {% endif %} for a choice"
        self.fault = Fault(what, fix or usual, line=line)


def parse(source: str) -> nodes.Template:
    """The syntax tree of a template. Raises NotJinja."""
    return _guarded(source, lambda: SYNTAX.parse(source))


def parse_condition(source: str) -> nodes.Node:
    """The syntax tree of a bare expression. Raises NotJinja."""
    return _guarded(source, lambda: _expression(source), "variable")


def syntax_faults(spec: Spec | Mapping) -> list[Fault]:
    """What is no Jinja in a spec's mappings, or in one alone, each at its path; many templates are not all
    looked at."""
    faults, left, templates = [], 2 * MAX_TOKENS, list(_templates(spec))
    few = sum(_most_tokens(source) for _, source, _ in templates) <= left
    for path, source, parser in templates:
        if not few and (left := left - _tokens(source)) < 0:
            break
        try:
            parser(source)
        except NotJinja as error:
            faults.append(at_path(path.removeprefix("."), error.fault))
    return faults


def at_path(path: str, fault: Fault) -> Fault:
    """A template's fault at its path in the spec; its place inside the template goes into the words."""
    column = f", column {fault.column}" if fault.column else ""
    inside = f"line {fault.line}{column} of the template" if fault.line else None
    why = "; ".join(part for part in (fault.why, inside) if part) or None
    return replace(fault, path=path, line=None, column=None, why=why)


def _guarded(source: str, parser: Callable[[], Tree], state: str | None = None) -> Tree:
    try:
        if _most_tokens(source) > MAX_TOKENS and _tokens(source, state) > MAX_TOKENS:
            raise NotJinja(f"this is more than {MAX_TOKENS} words and signs of Jinja", None)
        return parser()
    except TemplateSyntaxError as error:
        what = error.message or "this is not Jinja"
        raise NotJinja(
            what, error.lineno, _name_in_words(source) or (_CONDITION if state else None)
        ) from error
    except RecursionError as error:
        raise NotJinja("this is nested too deeply", None) from error


def _name_in_words(source: str) -> str | None:
    """How to write a column whose name has spaces, where that seems to be what is meant."""
    names = (found[1] for found in _WORDS.finditer(source))
    name = next((name for name in names if not _OPERATORS & set(name.split())), None)
    return f"if that is one column, write {{{{ row['{name}'] }}}}" if name else None


def _most_tokens(source: str) -> int:
    """No template has more tokens: each has a character of its own, or stands beside one."""
    return 2 * len(source) + 2


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


def _templates(spec: Spec | Mapping) -> Iterator[tuple[str, str, Callable[[str], nodes.Node]]]:
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
