"""Statements of a template compiled: one walk over Jinja's syntax tree that gathers every fault."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import cast

import polars as pl
from jinja2 import nodes

from orchestrator.data.template_expressions import FALSE, ROW, AlreadyTold, Expressions, Told
from orchestrator.data.template_faults import outside
from orchestrator.data.template_lists import filtered
from orchestrator.data.template_syntax import NotJinja, parse, parse_condition
from orchestrator.data.template_values import (
    Refusal,
    Value,
    any_of,
    blank,
    choose,
    inner_type,
    text,
    truth,
    typed,
    written,
)

_PLACE = pl.int_range(pl.len(), dtype=pl.Int64)
_COUNT = pl.len().cast(pl.Int64)
LOOP = {
    "index": Value("integer", _PLACE + 1, pl.Int64(), nullable=False, from_row=False),
    "index0": Value("integer", _PLACE, pl.Int64(), nullable=False, from_row=False),
    "revindex": Value("integer", _COUNT - _PLACE, pl.Int64(), nullable=False, from_row=False),
    "revindex0": Value("integer", _COUNT - _PLACE - 1, pl.Int64(), nullable=False, from_row=False),
    "length": Value("integer", _COUNT + _PLACE * 0, pl.Int64(), nullable=False, from_row=False),
    "first": Value("boolean", _PLACE == 0, pl.Boolean(), nullable=False, from_row=False),
    "last": Value("boolean", _PLACE == _COUNT - 1, pl.Boolean(), nullable=False, from_row=False),
}


@dataclass(frozen=True)
class Body:
    """A stretch of template: its texts in order, and whether a field printed in it is empty."""

    parts: tuple[pl.Expr, ...]
    empty: pl.Expr | None

    def text(self) -> pl.Expr:
        """The parts as one text, never null."""
        if not self.parts:
            return pl.lit("")
        if len(self.parts) == 1:
            return self.parts[0].fill_null("")
        # Nulls count as empty text: cheaper than filling each part.
        return pl.concat_str(self.parts, ignore_nulls=True)


class Walk(Expressions):
    """One walk over one template."""

    assigned: frozenset[str] = frozenset()

    def template(self, source: str) -> Body | None:
        """The body of a whole template; None, with faults, where it cannot be compiled."""
        with self._parsing():
            self.tree = tree = parse(source)
            self.assigned = _assigned(tree)
            return self.body(tree.body)
        return None

    def expression(self, source: str) -> pl.Expr | None:
        """The truth of a bare expression; None, with faults, where it cannot be compiled."""
        with self._parsing():
            self.tree = tree = parse_condition(source)
            return self.condition(tree)
        return None

    @contextmanager
    def _parsing(self) -> Iterator[None]:
        """Turns what stops the parser, or the walk, into a fault."""
        try:
            yield
        except NotJinja as error:
            self.told.append(Told(error.fault, outside=False))
        except RecursionError:
            self.told.append(Told(NotJinja("this is nested too deeply", None).fault, outside=False))

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
            elif isinstance(statement, nodes.For):
                inner = self._for(statement)
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

    def _for(self, loop: nodes.For) -> Body:
        """A loop over a list, whose body reads its own element and nothing else of the row."""
        try:
            return self._loop(loop)
        except Refusal as refusal:
            self.tell(refusal, loop)
        except AlreadyTold:
            pass
        return Body((), None)

    def _loop(self, loop: nodes.For) -> Body:
        (value,) = self.values([loop.iter])
        if loop.recursive or not isinstance(loop.target, nodes.Name) or value.kind != "list":
            raise outside(loop)
        element = {loop.target.name: typed(pl.element(), inner_type(value.dtype))}
        if loop.test is not None:
            with self._alone(element, {}):
                holds = self.sure(loop.test)
            value = replace(value, expr=filtered(value, holds))
        with self._alone(element, LOOP):
            inner = self.body(loop.body)
        # A text that does not depend on the element must still come once for each.
        once = pl.concat_str([inner.text(), pl.element().is_null().cast(pl.String).str.head(0)])
        text = value.expr.list.eval(once).list.join("").fill_null("")
        empty = None if inner.empty is None else value.expr.list.eval(inner.empty).list.any().fill_null(False)
        if not loop.else_:
            return Body((text,), empty)
        with self._inner():
            otherwise = self.body(loop.else_)
        some = truth(value)
        first, second = (FALSE if one is None else one for one in (empty, otherwise.empty))
        return Body(
            (pl.when(some).then(text).otherwise(otherwise.text()),),
            pl.when(some).then(first).otherwise(second),
        )

    @contextmanager
    def _inner(self) -> Iterator[None]:
        """In a scope of its own, where Jinja does not see what the template sets only later: not even the
        column of that name."""
        before = dict(self.names)
        self.names = {**{name: _not_set_yet(name) for name in self.assigned}, **before}
        yield
        self.names = before

    @contextmanager
    def _alone(self, names: Mapping[str, Value], loop: Mapping[str, Value]) -> Iterator[None]:
        """With these names only, and those of fixed values: Polars evaluates a list by itself."""
        before = self.names, self.loop
        others = {name: _out_of_reach(name) for name in (*self.schema, *self.names, ROW, "loop")}
        fixed = {name: held for name, held in self.names.items() if isinstance(held, Value) and held.known}
        self.names, self.loop = {**others, **fixed, **names}, loop
        yield
        self.names, self.loop = before

    def _unset(self, name: str) -> Value | Refusal:
        try:
            return self.named_column(name) if name in self.schema else written(None)
        except Refusal as refusal:
            return refusal

    def _statement(self, statement: nodes.Node) -> None:
        if isinstance(statement, nodes.Assign) and isinstance(statement.target, nodes.Name):
            self.names[statement.target.name] = self.value(statement.node)
        elif isinstance(statement, nodes.AssignBlock) and _plain_block(statement):
            self._set_block(statement)
        elif isinstance(statement, nodes.Assign):
            self.tell(
                Refusal("{% set %} of several names at once", "set one name at a time", outside=True),
                statement,
            )
        else:
            self.tell(outside(statement), statement)

    def _set_block(self, block: nodes.AssignBlock) -> None:
        name = cast(nodes.Name, block.target).name
        with self._inner():
            # Jinja clears the name before the block, so the block does not see what it held.
            self.names[name] = _not_set_yet(name)
            inner = self.body(block.body)
        read, empty = inner.empty is not None, FALSE if inner.empty is None else inner.empty
        made = Value("text", inner.text(), pl.String(), nullable=False, from_row=read, blank=empty)
        self.names[name] = made


def _out_of_reach(name: str) -> Refusal:
    what = f"a {{% for %}} loop that reads `{name}` from outside of it"
    return Refusal(what, "read only the element in the loop", outside=True, word=name)


def _not_set_yet(name: str) -> Refusal:
    what = f"a block that reads `{name}` before the template sets it"
    return Refusal(what, "set it under a new name", outside=True, word=name)


def _assigned(tree: nodes.Template) -> frozenset[str]:
    """The names that a template sets, anywhere."""
    values, blocks = tree.find_all(nodes.Assign), tree.find_all(nodes.AssignBlock)
    targets = [*(one.target for one in values), *(one.target for one in blocks)]
    return frozenset(target.name for target in targets if isinstance(target, nodes.Name))


def _plain_block(block: nodes.AssignBlock) -> bool:
    return block.filter is None and isinstance(block.target, nodes.Name)


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
