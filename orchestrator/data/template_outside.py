"""What a template outside the compiled core reads, and what is wrong with it before any row is rendered.

The walk knows of each name whether the template binds it, and its type as far as a path from a column gives
one: unknown columns, fields of structs, filters and tests are faults, as in the core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

import polars as pl
from jinja2 import nodes

from orchestrator.data.template_child import Form
from orchestrator.data.template_faults import (
    OTHER_TEMPLATES,
    columns_there_are,
    outside,
    unknown_field,
    unknown_filter,
    unknown_test,
)
from orchestrator.data.template_reference import Sandbox
from orchestrator.data.template_values import Refusal, inner_type, instance, plain, typed

ROW = "row"
SANDBOX = Sandbox()

Type = pl.DataType | None
Tell = Callable[[Refusal, nodes.Node], None]


class Reading:
    """One walk over a template: the columns that it reads, each with its form (`template_child.py`); `tell`
    is given each fault."""

    def __init__(self, schema: Mapping[str, pl.DataType], tell: Tell) -> None:
        self.forms: dict[str, Form] = {}
        self._schema = {name: plain(dtype) for name, dtype in schema.items()}
        self._tell = tell
        self._names: dict[str, Type] = {}

    def visit(self, node: nodes.Node) -> Type:
        """Walk over a part; its type, where it is known."""
        for kind, visit in self._VISITS.items():
            if isinstance(node, kind):
                return visit(self, node)
        self._children(node)
        return None

    def _children(self, node: nodes.Node) -> None:
        self._all(*node.iter_child_nodes())

    def _all(self, *found: nodes.Node | None) -> None:
        for one in found:
            if one is not None:
                self.visit(one)

    def _name(self, node: nodes.Name) -> Type:
        name = node.name
        if node.ctx != "load":
            self._names[name] = None
        elif name in self._names:
            return self._names[name]
        elif name in self._schema:
            return self._column(name, node)
        elif name == ROW:
            self._all_columns()
        elif name not in SANDBOX.globals:
            self._unknown_column(name, node)
        return None

    def _column(self, name: str, node: nodes.Node) -> Type:
        try:
            self.forms[name] = form(self._schema[name])
        except Refusal as refusal:
            self._tell(refusal, node)
            return None
        return self._schema[name]

    def _all_columns(self) -> None:
        for name, dtype in self._schema.items():
            with suppress(Refusal):
                self.forms[name] = form(dtype)

    def _unknown_column(self, name: str, node: nodes.Node) -> None:
        refusal = Refusal(f"there is no column {name!r}", columns_there_are(name, self._schema), word=name)
        self._tell(refusal, node)

    def _field(self, node: nodes.Getattr) -> Type:
        return self._named(node.node, node.attr, node)

    def _item(self, node: nodes.Getitem) -> Type:
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return self._named(node.node, node.arg.value, node)
        whole = self.visit(node.node)
        self.visit(node.arg)
        if isinstance(whole, pl.List):
            return whole if isinstance(node.arg, nodes.Slice) else inner_type(whole)
        return None

    def _named(self, whole: nodes.Node, name: str, node: nodes.Node) -> Type:
        if isinstance(whole, nodes.Name) and whole.name == ROW and ROW not in {*self._schema, *self._names}:
            if name in self._schema:
                return self._column(name, node)
            self._unknown_column(name, node)
            return None
        dtype = self.visit(whole)
        if not isinstance(dtype, pl.Struct):
            return None
        types = {field.name: instance(field.dtype) for field in dtype.fields}
        if name not in types:
            self._tell(unknown_field(name, types), node)
        return types.get(name)

    def _call(self, node: nodes.Call) -> Type:
        """A method is no field of a struct."""
        called = node.node
        self.visit(called.node if isinstance(called, nodes.Getattr) else called)
        self._all(*node.args, *node.kwargs, node.dyn_args, node.dyn_kwargs)
        return None

    def _filter(self, node: nodes.Filter) -> Type:
        if node.name not in SANDBOX.filters:
            self._tell(unknown_filter(node.name, SANDBOX.filters), node)
        self._children(node)
        return None

    def _test(self, node: nodes.Test) -> Type:
        if node.name not in SANDBOX.tests:
            self._tell(unknown_test(node.name, SANDBOX.tests), node)
        self._children(node)
        return None

    def _assign(self, node: nodes.Assign) -> Type:
        self._bind(node.target, self.visit(node.node))
        return None

    def _bind(self, target: nodes.Node, dtype: Type) -> None:
        if isinstance(target, nodes.Name):
            self._names[target.name] = dtype
        else:
            self._children(target)

    def _if(self, node: nodes.If) -> Type:
        before = dict(self._names)
        self._children(node)
        # A name that a branch binds may hold either value afterwards.
        for name, dtype in self._names.items():
            if name not in before or before[name] != dtype:
                self._names[name] = None
        return None

    def _for(self, node: nodes.For) -> Type:
        dtype = self.visit(node.iter)
        with self._scope():
            self._bind(node.target, inner_type(dtype) if isinstance(dtype, pl.List) else None)
            self._names["loop"] = None
            self._all(node.test, *node.body, *node.else_)
        return None

    def _macro(self, node: nodes.Macro | nodes.CallBlock) -> Type:
        self._all(*node.defaults)
        if isinstance(node, nodes.Macro):
            self._names[node.name] = None
        else:
            self.visit(node.call)
        with self._scope():
            self._names.update(
                dict.fromkeys(["caller", "varargs", "kwargs", *(arg.name for arg in node.args)])
            )
            self._all(*node.body)
        return None

    def _with(self, node: nodes.With) -> Type:
        types = [self.visit(value) for value in node.values]
        with self._scope():
            for target, dtype in zip(node.targets, types, strict=True):
                self._bind(target, dtype)
            self._all(*node.body)
        return None

    def _other_template(self, node: nodes.Node) -> Type:
        self._tell(outside(node), node)
        return None

    @contextmanager
    def _scope(self) -> Iterator[None]:
        outer, self._names = self._names, dict(self._names)
        yield
        self._names = outer

    _VISITS: Mapping[type[nodes.Node], Callable[..., Type]] = {
        nodes.Name: _name,
        nodes.Getattr: _field,
        nodes.Getitem: _item,
        nodes.Call: _call,
        nodes.Filter: _filter,
        nodes.Test: _test,
        nodes.Assign: _assign,
        nodes.If: _if,
        nodes.For: _for,
        nodes.Macro: _macro,
        nodes.CallBlock: _macro,
        nodes.With: _with,
        **dict.fromkeys(OTHER_TEMPLATES, _other_template),
    }


def form(dtype: pl.DataType) -> Form:
    """Where dates lie in a value of a type; raises Refusal where it holds what templates cannot read."""
    typed(pl.element(), dtype)
    if isinstance(dtype, pl.Date):
        return "date"
    if isinstance(dtype, pl.Datetime):
        return "datetime"
    if isinstance(dtype, pl.List):
        inner = form(inner_type(dtype))
        return None if inner is None else [inner]
    if isinstance(dtype, pl.Struct):
        fields = {field.name: form(instance(field.dtype)) for field in dtype.fields}
        return {name: inner for name, inner in fields.items() if inner is not None} or None
    return None
