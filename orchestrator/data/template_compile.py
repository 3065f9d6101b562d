"""The walk from Jinja's syntax tree to typed values: one pass that gathers every fault."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import polars as pl
from jinja2 import Environment, TemplateSyntaxError, nodes
from jinja2.parser import Parser

from orchestrator.data.template_faults import columns_there_are, outside, unknown_filter
from orchestrator.data.template_filters import FILTERS, field, item, part
from orchestrator.data.template_numbers import arithmetic, negative
from orchestrator.data.template_reference import pairs
from orchestrator.data.template_texts import method
from orchestrator.data.template_values import (
    Refusal,
    Value,
    any_of,
    blank,
    choose,
    column,
    contains,
    defined,
    derive,
    equal,
    instance,
    ordered,
    text,
    truth,
    written,
)
from orchestrator.errors import Fault

SYNTAX = Environment()
FALSE = pl.lit(False)
ROW = "row"
# Bytes of one serialized expression: some thousand operations on one value.
LARGEST = 300_000
TOO_LARGE = "this expression grows too large for the compiled core"

ARITHMETIC = {
    nodes.Add: "+",
    nodes.Sub: "-",
    nodes.Mul: "*",
    nodes.Div: "/",
    nodes.FloorDiv: "//",
    nodes.Mod: "%",
}


@dataclass(frozen=True)
class Told:
    """A fault of a template; `outside` where it is a construct that Jinja itself could still run."""

    fault: Fault
    outside: bool


class _AlreadyTold(Exception):
    """A part of this expression has a fault that is already told."""


@dataclass(frozen=True)
class Body:
    """A stretch of template: its texts in order, and whether a field printed in it is empty."""

    parts: tuple[pl.Expr, ...]
    empty: pl.Expr | None

    def text(self) -> pl.Expr:
        """The parts as one text, never null."""
        if not self.parts:
            return pl.lit("")
        # Nulls count as empty text: cheaper than filling each part.
        return pl.concat_str(self.parts, ignore_nulls=True)


class Walk:
    """One walk over one template: the names in force, the columns read, the faults told so far."""

    def __init__(self, source: str, schema: Mapping[str, pl.DataType | type[pl.DataType]]) -> None:
        self.lines = re.split(r"\r\n|\r|\n", source)
        self.schema = {name: instance(dtype) for name, dtype in schema.items()}
        self.columns: set[str] = set()
        self.told: list[Told] = []
        self.tree: nodes.Node | None = None
        # A name may hold the refusal or the told fault (None) that reading it would meet.
        self.names: dict[str, Value | Refusal | None] = {}

    def template(self, source: str) -> Body | None:
        """The body of a whole template; None, with faults, where it cannot be compiled."""
        with self._parsing():
            self.tree = tree = SYNTAX.parse(source)
            return self.body(tree.body)
        return None

    def expression(self, source: str) -> pl.Expr | None:
        """The truth of a bare expression; None, with faults, where it cannot be compiled."""
        with self._parsing():
            parser = Parser(SYNTAX, source, state="variable")
            tree = parser.parse_expression()
            if not parser.stream.eos:
                parser.fail("there is something after the expression")
            self.tree = tree
            return self.condition(tree)
        return None

    @contextmanager
    def _parsing(self) -> Iterator[None]:
        """Turns what stops the parser, or the walk, into a fault."""
        try:
            yield
        except TemplateSyntaxError as error:
            self._syntax(error.message or "this is not Jinja", error.lineno)
        except RecursionError:
            self._syntax("this is nested too deeply", None)

    def body(self, statements: Sequence[nodes.Node]) -> Body:
        """The texts that a list of statements prints."""
        parts: list[pl.Expr | str] = []
        empties: list[pl.Expr | None] = []
        for statement in statements:
            if isinstance(statement, nodes.Output):
                self._output(statement, parts, empties)
            elif isinstance(statement, nodes.If):
                inner = self._if([(statement.test, statement.body), *_elifs(statement)], statement.else_)
                parts.append(inner.text())
                empties.append(inner.empty)
            else:
                self._statement(statement)
        return Body(_merged(parts), any_of(empties))

    def _output(
        self, output: nodes.Output, parts: list[pl.Expr | str], empties: list[pl.Expr | None]
    ) -> None:
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                parts.append(node.data)
                continue
            value = self.value(node)
            if value is None:
                continue
            try:
                parts.append(str(value.literal) if value.known and value.kind == "text" else text(value))
                empties.append(blank(value))
            except Refusal as refusal:
                self.tell(refusal, node)

    def _if(
        self, branches: Sequence[tuple[nodes.Node, list[nodes.Node]]], otherwise: list[nodes.Node]
    ) -> Body:
        if not branches:
            return self.body(otherwise)
        (test, statements), rest = branches[0], branches[1:]
        condition = self.condition(test)
        before = self.names
        self.names = dict(before)
        yes, names_if_yes = self.body(statements), self.names
        self.names = dict(before)
        no, names_if_no = self._if(rest, otherwise), self.names
        self.names = before
        if condition is None:
            return Body((), None)
        self.names = self._merge(condition, names_if_yes, names_if_no)
        empty = None
        if yes.empty is not None or no.empty is not None:
            first, second = (FALSE if one is None else one for one in (yes.empty, no.empty))
            empty = pl.when(condition).then(first).otherwise(second)
        return Body((pl.when(condition).then(yes.text()).otherwise(no.text()),), empty)

    def _merge(
        self,
        condition: pl.Expr,
        yes: Mapping[str, Value | Refusal | None],
        no: Mapping[str, Value | Refusal | None],
    ) -> dict[str, Value | Refusal | None]:
        """What each name holds after an {% if %}; a branch that does not set it leaves the column, if any."""
        merged: dict[str, Value | Refusal | None] = {}
        for name in [*yes, *(name for name in no if name not in yes)]:
            first, second = (side[name] if name in side else self._unset(name) for side in (yes, no))
            if first is second or not isinstance(first, Value) or not isinstance(second, Value):
                merged[name] = second if isinstance(first, Value) else first
                continue
            try:
                merged[name] = choose(condition, first, second)
            except Refusal as refusal:
                merged[name] = refusal
        return merged

    def _unset(self, name: str) -> Value | Refusal:
        try:
            return self._column(name) if name in self.schema else written(None)
        except Refusal as refusal:
            return refusal

    def _statement(self, statement: nodes.Node) -> None:
        if isinstance(statement, nodes.Assign) and isinstance(statement.target, nodes.Name):
            self.names[statement.target.name] = self.value(statement.node)
        elif isinstance(statement, nodes.Assign):
            self.tell(
                Refusal("{% set %} of several names at once", "set one name at a time", outside=True),
                statement,
            )
        else:
            self.tell(outside(statement), statement)

    def value(self, node: nodes.Node) -> Value | None:
        """The value of an expression; None where it, or a part of it, has a fault (which is then told)."""
        try:
            return self._visit(node)
        except Refusal as refusal:
            self.tell(refusal, node)
        except _AlreadyTold:
            pass
        return None

    def _visit(self, node: nodes.Node) -> Value:
        for kind, visit in self._visits.items():
            if isinstance(node, kind):
                value = visit(self, node)
                # A value used twice is twice in the expression, so a short template may grow without bound.
                if len(value.expr.meta.serialize()) > LARGEST:
                    raise Refusal(TOO_LARGE, "make it shorter, or use fewer steps", outside=True)
                return value
        raise outside(node)

    def condition(self, node: nodes.Node) -> pl.Expr | None:
        """The truth of an expression, never null; None where it has a fault."""
        if isinstance(node, nodes.And | nodes.Or):
            left, right = self.condition(node.left), self.condition(node.right)
            if left is None or right is None:
                return None
            return left & right if isinstance(node, nodes.And) else left | right
        if isinstance(node, nodes.Not):
            inner = self.condition(node.node)
            return None if inner is None else inner.not_()
        value = self.value(node)
        return None if value is None else truth(value)

    def _values(self, found: Iterable[nodes.Node]) -> list[Value]:
        values = [self.value(node) for node in found]
        if None in values:
            raise _AlreadyTold
        return cast("list[Value]", values)

    def _sure(self, node: nodes.Node) -> pl.Expr:
        condition = self.condition(node)
        if condition is None:
            raise _AlreadyTold
        return condition

    def _const(self, node: nodes.Const) -> Value:
        return written(node.value)

    def _name(self, node: nodes.Name) -> Value:
        if node.name not in self.names:
            if node.name not in self.schema and node.name in SYNTAX.globals:
                raise outside(nodes.Call())
            return self._column(node.name)
        held = self.names[node.name]
        if held is None:
            raise _AlreadyTold
        if isinstance(held, Refusal):
            raise held
        return held

    def _column(self, name: str) -> Value:
        if name not in self.schema:
            raise Refusal(f"there is no column {name!r}", columns_there_are(name, self.schema), word=name)
        self.columns.add(name)
        return column(name, self.schema[name])

    def _field(self, node: nodes.Getattr) -> Value:
        if self._is_row(node.node):
            return self._column(node.attr)
        (value,) = self._values([node.node])
        return field(value, node.attr)

    def _item(self, node: nodes.Getitem) -> Value:
        if isinstance(node.arg, nodes.Slice):
            return self._slice(node.node, node.arg)
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return self._field(nodes.Getattr(node.node, node.arg.value, "load", lineno=node.lineno))
        value, index = self._values([node.node, node.arg])
        return item(value, index)

    def _slice(self, whole: nodes.Expr, bounds: nodes.Slice) -> Value:
        (value,) = self._values([whole])
        start, stop, step = (self._bound(bound) for bound in (bounds.start, bounds.stop, bounds.step))
        if step not in (None, 1):
            raise Refusal("a slice with a step", "leave the step out", outside=True)
        return part(value, start, stop)

    def _bound(self, node: nodes.Expr | None) -> int | None:
        if node is None:
            return None
        (value,) = self._values([node])
        if value.known and type(value.literal) is int:
            return value.literal
        raise Refusal("a slice bound that is not a plain number", "write the bound as a number", outside=True)

    def _is_row(self, node: nodes.Node) -> bool:
        return (
            isinstance(node, nodes.Name)
            and node.name == ROW
            and ROW not in self.schema
            and ROW not in self.names
        )

    def _filter(self, node: nodes.Filter) -> Value:
        known = FILTERS.get(node.name)
        if known is None:
            raise unknown_filter(node.name, FILTERS)
        if node.node is None:
            raise outside(nodes.FilterBlock())
        given = _bind(node, known.parameters)
        subject, *arguments = self._values([node.node, *given.values()])
        return known.apply(subject, dict(zip(given, arguments, strict=True)))

    def _test(self, node: nodes.Test) -> Value:
        (value,) = self._values([node.node])
        there = defined(value) if value.kind != "missing" else FALSE
        if node.name == "defined":
            return _boolean(there)
        if node.name in ("undefined", "none"):
            return _boolean(there.not_())
        fix = "use `is defined`, `is none`, ==, or `in`"
        raise Refusal(f"the test `is {node.name}`", fix, outside=True, word=node.name)

    def _compare(self, node: nodes.Compare) -> Value:
        found = [self._one_comparison(*pair) for pair in pairs(node)]
        return _boolean(pl.all_horizontal(found) if len(found) > 1 else found[0])

    def _one_comparison(self, left: nodes.Expr, operator: str, right: nodes.Expr) -> pl.Expr:
        if operator in ("in", "notin"):
            found = self._in(left, right)
            return found if operator == "in" else found.not_()
        first, second = self._values([left, right])
        if operator in ("eq", "ne"):
            same = equal(first, second)
            return same if operator == "eq" else same.not_()
        return ordered(cast(Any, operator), first, second)

    def _in(self, left: nodes.Expr, right: nodes.Expr) -> pl.Expr:
        if not isinstance(right, nodes.List | nodes.Tuple):
            return contains(*self._values([left, right]))
        value, *candidates = self._values([left, *right.items])
        if (
            value.kind == "text"
            and candidates
            and all(one.known and one.kind == "text" for one in candidates)
        ):
            listed = value.expr.is_in([str(one.literal) for one in candidates])
            return listed.fill_null(False) if value.nullable else listed
        found = any_of([equal(value, one) for one in candidates])
        return FALSE if found is None else found

    def _and(self, node: nodes.And) -> Value:
        left, right = self._values([node.left, node.right])
        return choose(truth(left), right, left)

    def _or(self, node: nodes.Or) -> Value:
        left, right = self._values([node.left, node.right])
        return choose(truth(left), left, right)

    def _not(self, node: nodes.Not) -> Value:
        return _boolean(self._sure(node.node).not_())

    def _inline_if(self, node: nodes.CondExpr) -> Value:
        condition = self.condition(node.test)
        branches = [node.expr1] if node.expr2 is None else [node.expr1, node.expr2]
        values = self._values(branches)
        if condition is None:
            raise _AlreadyTold
        return choose(condition, values[0], values[1] if len(values) > 1 else written(None))

    def _concat(self, node: nodes.Concat) -> Value:
        values = self._values(node.nodes)
        joined = pl.concat_str([text(value) for value in values], ignore_nulls=True)
        empty = any_of([blank(value) for value in values])
        value = derive("text", joined, pl.String(), *values)
        return replace(value, blank=FALSE if empty is None else empty)

    def _arithmetic(self, node: nodes.BinExpr) -> Value:
        left, right = self._values([node.left, node.right])
        return arithmetic(cast(Any, ARITHMETIC[type(node)]), left, right)

    def _negative(self, node: nodes.Neg) -> Value:
        if isinstance(node.node, nodes.Const) and type(node.node.value) in (int, float):
            return written(-node.node.value)
        (value,) = self._values([node.node])
        return negative(value)

    def _call(self, node: nodes.Call) -> Value:
        """A method of a text; any other call lies outside."""
        called = node.node
        if not isinstance(called, nodes.Getattr) or node.kwargs or node.dyn_args or node.dyn_kwargs:
            raise outside(node)
        value, *arguments = self._values([called.node, *node.args])
        if value.kind not in ("text", "missing"):
            raise outside(node)
        return method(value, called.attr, arguments)

    _visits: ClassVar[dict[type[nodes.Node], Callable[[Walk, Any], Value]]] = {
        nodes.Const: _const,
        nodes.Name: _name,
        nodes.Getattr: _field,
        nodes.Getitem: _item,
        nodes.Filter: _filter,
        nodes.Test: _test,
        nodes.Compare: _compare,
        nodes.And: _and,
        nodes.Or: _or,
        nodes.Not: _not,
        nodes.CondExpr: _inline_if,
        nodes.Concat: _concat,
        nodes.Neg: _negative,
        nodes.Call: _call,
        **dict.fromkeys(ARITHMETIC, _arithmetic),
    }

    def tell(self, refusal: Refusal, node: nodes.Node) -> None:
        """Note what is wrong with a part of the template, once."""
        column = self._place(node.lineno, refusal.word)
        if not any((one.fault.what, one.fault.line) == (refusal.what, node.lineno) for one in self.told):
            fault = Fault(refusal.what, refusal.fix, line=node.lineno, column=column)
            self.told.append(Told(fault, refusal.outside))

    def _syntax(self, what: str, line: int | None) -> None:
        fix = "write {{ column }} for a value and {% if .. %} .. {% endif %} for a choice"
        self.told.append(Told(Fault(what, fix, line=line), outside=False))

    def _place(self, line: int, word: str | None) -> int | None:
        """Where a word stands in a line, if it stands there once: Jinja itself keeps lines only."""
        if word is None or not 1 <= line <= len(self.lines):
            return None
        found = list(re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", self.lines[line - 1]))
        return found[0].start() + 1 if len(found) == 1 else None


def _boolean(expr: pl.Expr) -> Value:
    return Value("boolean", expr, pl.Boolean(), nullable=False, from_row=False)


def _elifs(statement: nodes.If) -> list[tuple[nodes.Node, list[nodes.Node]]]:
    return [(one.test, one.body) for one in statement.elif_]


def _merged(parts: Sequence[pl.Expr | str]) -> tuple[pl.Expr, ...]:
    """Neighbouring fixed texts become one literal."""
    merged: list[pl.Expr | str] = []
    for one in parts:
        if isinstance(one, str) and merged and isinstance(merged[-1], str):
            merged[-1] += one
        else:
            merged.append(one)
    return tuple(pl.lit(one) if isinstance(one, str) else one for one in merged)


def _bind(node: nodes.Filter, parameters: Sequence[str]) -> dict[str, nodes.Node]:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        raise Refusal("`*` in a filter's arguments", "write the arguments one by one", outside=True)
    given: dict[str, nodes.Node] = dict(zip(parameters, node.args, strict=False))
    given.update((cast(nodes.Keyword, pair).key, pair.value) for pair in node.kwargs)
    if len(node.args) + len(node.kwargs) != len(given) or not given.keys() <= set(parameters):
        takes = f"it takes {', '.join(parameters)}" if parameters else "it takes none"
        raise Refusal(f"`{node.name}` with these arguments", takes, outside=True, word=node.name)
    return given
