"""Expressions of a template compiled: from the nodes of Jinja's syntax tree to typed values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import polars as pl
from jinja2 import nodes

from orchestrator.data.template_compare import contains, equal, ordered
from orchestrator.data.template_faults import columns_there_are, outside, unknown_filter
from orchestrator.data.template_filters import FILTERS, field, item, part
from orchestrator.data.template_lists import LIST_FILTERS, over_list
from orchestrator.data.template_numbers import arithmetic, negative
from orchestrator.data.template_reference import pairs
from orchestrator.data.template_syntax import SYNTAX
from orchestrator.data.template_tests import TESTS
from orchestrator.data.template_texts import method
from orchestrator.data.template_values import (
    Refusal,
    Value,
    any_of,
    blank,
    choose,
    column,
    derive,
    instance,
    text,
    truth,
    written,
)
from orchestrator.errors import Fault

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


class AlreadyTold(Exception):
    """A part of this expression has a fault that is already told."""


class Expressions:
    """What the expressions of one template stand for: the names in force, the columns read, the faults told
    so far."""

    def __init__(self, source: str, schema: Mapping[str, pl.DataType | type[pl.DataType]]) -> None:
        self.lines = re.split(r"\r\n|\r|\n", source)
        self.schema = {name: instance(dtype) for name, dtype in schema.items()}
        self.columns: set[str] = set()
        self.told: list[Told] = []
        self.tree: nodes.Node | None = None
        self.loop: Mapping[str, Value] = {}
        # A name may hold the refusal or the told fault (None) that reading it would meet.
        self.names: dict[str, Value | Refusal | None] = {}

    def value(self, node: nodes.Node) -> Value | None:
        """The value of an expression; None where it, or a part of it, has a fault (which is then told)."""
        try:
            return self._visit(node)
        except Refusal as refusal:
            self.tell(refusal, node)
        except AlreadyTold:
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

    def values(self, found: Iterable[nodes.Node]) -> list[Value]:
        values = [self.value(node) for node in found]
        if None in values:
            raise AlreadyTold
        return cast("list[Value]", values)

    def sure(self, node: nodes.Node) -> pl.Expr:
        condition = self.condition(node)
        if condition is None:
            raise AlreadyTold
        return condition

    def _const(self, node: nodes.Const) -> Value:
        return written(node.value)

    def _name(self, node: nodes.Name) -> Value:
        if node.name not in self.names:
            if node.name not in self.schema and node.name in SYNTAX.globals:
                raise outside(nodes.Call())
            if self._is_row(node):
                raise Refusal("`row` as a whole", "name a column: `row['Its name']`", outside=True, word=ROW)
            return self.named_column(node.name)
        held = self.names[node.name]
        if held is None:
            raise AlreadyTold
        if isinstance(held, Refusal):
            raise held
        return held

    def named_column(self, name: str) -> Value:
        if name not in self.schema:
            raise Refusal(f"there is no column {name!r}", columns_there_are(name, self.schema), word=name)
        self.columns.add(name)
        return column(name, self.schema[name])

    def _field(self, node: nodes.Getattr) -> Value:
        if isinstance(node.node, nodes.Name) and node.node.name == "loop" and node.attr in self.loop:
            return self.loop[node.attr]
        if self._is_row(node.node):
            return self.named_column(node.attr)
        (value,) = self.values([node.node])
        return field(value, node.attr)

    def _item(self, node: nodes.Getitem) -> Value:
        if isinstance(node.node, nodes.Dict) and not isinstance(node.arg, nodes.Slice):
            return self._looked_up(node.node, node.arg, None)
        if isinstance(node.node, nodes.List | nodes.Tuple) and not isinstance(node.arg, nodes.Slice):
            return self._listed(node.node.items, node.arg)
        if isinstance(node.arg, nodes.Slice):
            return self._slice(node.node, node.arg)
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return self._field(nodes.Getattr(node.node, node.arg.value, "load", lineno=node.lineno))
        value, index = self.values([node.node, node.arg])
        return item(value, index)

    def _looked_up(self, table: nodes.Dict, key: nodes.Expr, default: nodes.Expr | None) -> Value:
        """The entry of a dictionary in the template; of equal keys the last."""
        keys = self.values(pair.key for pair in table.items)
        values = self.values(pair.value for pair in table.items)
        (wanted,) = self.values([key])
        found = written(None) if default is None else self.values([default])[0]
        for known, value in zip(keys, values, strict=True):
            found = choose(equal(wanted, known), value, found)
        return found

    def _listed(self, items: list[nodes.Expr], index: nodes.Expr) -> Value:
        """The element of a list in the template."""
        wanted, *values = self.values([index, *items])
        if wanted.kind not in ("integer", "missing"):
            raise Refusal("a list is indexed with a whole number", "use `| int`, or a dictionary")
        found = written(None)
        for place, value in enumerate(values):
            either = [equal(wanted, written(place)), equal(wanted, written(place - len(values)))]
            found = choose(pl.any_horizontal(either), value, found)
        return found

    def _slice(self, whole: nodes.Expr, bounds: nodes.Slice) -> Value:
        (value,) = self.values([whole])
        start, stop, step = (self._bound(bound) for bound in (bounds.start, bounds.stop, bounds.step))
        if step not in (None, 1):
            raise Refusal("a slice with a step", "leave the step out", outside=True)
        return part(value, start, stop)

    def _bound(self, node: nodes.Expr | None) -> int | None:
        if node is None:
            return None
        (value,) = self.values([node])
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
        if node.node is None:
            raise outside(nodes.FilterBlock())
        if node.name in LIST_FILTERS:
            return self._list_filter(node, node.node)
        known = FILTERS.get(node.name)
        if known is None:
            raise unknown_filter(node.name, (*FILTERS, *LIST_FILTERS))
        given = _bind(node, known.parameters)
        subject, *arguments = self.values([node.node, *given.values()])
        return known.apply(subject, dict(zip(given, arguments, strict=True)))

    def _list_filter(self, node: nodes.Filter, subject: nodes.Expr) -> Value:
        keywords = {cast(nodes.Keyword, pair).key: pair.value for pair in node.kwargs}
        value, *given = self.values([subject, *node.args, *keywords.values()])
        arguments, named = given[: len(node.args)], given[len(node.args) :]
        return over_list(node.name, value, arguments, dict(zip(keywords, named, strict=True)))

    def _test(self, node: nodes.Test) -> Value:
        if node.name not in TESTS or node.kwargs:
            fix = "use `is defined`, `is none`, ==, or `in`"
            raise Refusal(f"the test `is {node.name}`", fix, outside=True, word=node.name)
        value, *arguments = self.values([node.node, *node.args])
        return _boolean(TESTS[node.name](value, arguments))

    def _compare(self, node: nodes.Compare) -> Value:
        found = [self._one_comparison(*pair) for pair in pairs(node)]
        return _boolean(pl.all_horizontal(found) if len(found) > 1 else found[0])

    def _one_comparison(self, left: nodes.Expr, operator: str, right: nodes.Expr) -> pl.Expr:
        if operator in ("in", "notin"):
            found = self._in(left, right)
            return found if operator == "in" else found.not_()
        first, second = self.values([left, right])
        if operator in ("eq", "ne"):
            same = equal(first, second)
            return same if operator == "eq" else same.not_()
        return ordered(cast(Any, operator), first, second)

    def _in(self, left: nodes.Expr, right: nodes.Expr) -> pl.Expr:
        if not isinstance(right, nodes.List | nodes.Tuple):
            return contains(*self.values([left, right]))
        value, *candidates = self.values([left, *right.items])
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
        left, right = self.values([node.left, node.right])
        return choose(truth(left), right, left)

    def _or(self, node: nodes.Or) -> Value:
        left, right = self.values([node.left, node.right])
        return choose(truth(left), left, right)

    def _not(self, node: nodes.Not) -> Value:
        return _boolean(self.sure(node.node).not_())

    def _inline_if(self, node: nodes.CondExpr) -> Value:
        condition = self.condition(node.test)
        branches = [node.expr1] if node.expr2 is None else [node.expr1, node.expr2]
        values = self.values(branches)
        if condition is None:
            raise AlreadyTold
        return choose(condition, values[0], values[1] if len(values) > 1 else written(None))

    def _concat(self, node: nodes.Concat) -> Value:
        values = self.values(node.nodes)
        joined = pl.concat_str([text(value) for value in values], ignore_nulls=True)
        empty = any_of([blank(value) for value in values])
        value = derive("text", joined, pl.String(), *values)
        return replace(value, blank=FALSE if empty is None else empty)

    def _arithmetic(self, node: nodes.BinExpr) -> Value:
        left, right = self.values([node.left, node.right])
        return arithmetic(cast(Any, ARITHMETIC[type(node)]), left, right)

    def _negative(self, node: nodes.Neg) -> Value:
        if isinstance(node.node, nodes.Const) and type(node.node.value) in (int, float):
            return written(-node.node.value)
        (value,) = self.values([node.node])
        return negative(value)

    def _call(self, node: nodes.Call) -> Value:
        """A method of a text; any other call lies outside."""
        called = node.node
        if not isinstance(called, nodes.Getattr) or node.kwargs or node.dyn_args or node.dyn_kwargs:
            raise outside(node)
        if isinstance(called.node, nodes.Dict) and called.attr == "get" and len(node.args) in (1, 2):
            return self._looked_up(called.node, node.args[0], node.args[1] if len(node.args) == 2 else None)
        value, *arguments = self.values([called.node, *node.args])
        if value.kind not in ("text", "missing"):
            raise outside(node)
        return method(value, called.attr, arguments)

    _visits: ClassVar[dict[type[nodes.Node], Callable[[Expressions, Any], Value]]] = {
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

    def _place(self, line: int, word: str | None) -> int | None:
        """Where a word stands in a line, if it stands there once: Jinja itself keeps lines only."""
        if word is None or not 1 <= line <= len(self.lines):
            return None
        found = list(re.finditer(rf"(?<!\w){re.escape(word)}(?!\w)", self.lines[line - 1]))
        return found[0].start() + 1 if len(found) == 1 else None


def _boolean(expr: pl.Expr) -> Value:
    return Value("boolean", expr, pl.Boolean(), nullable=False, from_row=False)


def _bind(node: nodes.Filter, parameters: Sequence[str]) -> dict[str, nodes.Node]:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        raise Refusal("`*` in a filter's arguments", "write the arguments one by one", outside=True)
    given: dict[str, nodes.Node] = dict(zip(parameters, node.args, strict=False))
    given.update((cast(nodes.Keyword, pair).key, pair.value) for pair in node.kwargs)
    if len(node.args) + len(node.kwargs) != len(given) or not given.keys() <= set(parameters):
        takes = f"it takes {', '.join(parameters)}" if parameters else "it takes none"
        raise Refusal(f"`{node.name}` with these arguments", takes, outside=True, word=node.name)
    return given
