"""Filters that go over a list (`map`, `select` and their kin), as functions from values to values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from orchestrator.data.template_faults import outside_filter, unknown_filter, unknown_test
from orchestrator.data.template_filters import FILTERS, field
from orchestrator.data.template_reference import Sandbox
from orchestrator.data.template_tests import TESTS
from orchestrator.data.template_values import Refusal, Value, derive, inner_type, truth, typed

LIST_FILTERS = ("map", "select", "reject", "selectattr", "rejectattr")
KNOWN = Sandbox()


def over_list(name: str, value: Value, arguments: Sequence[Value], keywords: Mapping[str, Value]) -> Value:
    """The list that one of `LIST_FILTERS` makes of a list; missing where that is."""
    if value.kind == "missing":
        return value
    if value.kind != "list" or any(not one.known for one in (*arguments, *keywords.values())):
        raise outside_filter(name)
    element = typed(pl.element(), inner_type(value.dtype))
    if name == "map":
        return _mapped(value, element, arguments, keywords)
    if keywords:
        raise outside_filter(name)
    if name.endswith("attr"):
        if not arguments:
            raise outside_filter(name)
        element, arguments = _along(element, arguments[0]), arguments[1:]
    holds = _tested(element, arguments)
    kept = holds if name.startswith("select") else holds.not_()
    return derive("list", filtered(value, kept), value.dtype, value, nullable=value.nullable)


def filtered(value: Value, holds: pl.Expr) -> pl.Expr:
    """A list with the elements for which something holds."""
    return value.expr.list.eval(pl.element().filter(holds))


def _mapped(value: Value, element: Value, arguments: Sequence[Value], keywords: Mapping[str, Value]) -> Value:
    if not arguments and set(keywords) == {"attribute"}:
        found = _along(element, keywords["attribute"])
    elif arguments:
        found = _filtered(element, str(arguments[0].literal), arguments[1:], keywords)
    else:
        raise outside_filter("map")
    if found.kind in ("mixed", "missing"):
        raise outside_filter("map")
    mapped = value.expr.list.eval(found.expr)
    return derive("list", mapped, pl.List(found.dtype), value, nullable=value.nullable)


def _filtered(element: Value, name: str, arguments: Sequence[Value], keywords: Mapping[str, Value]) -> Value:
    known = FILTERS.get(name)
    if known is None:
        raise unknown_filter(name, KNOWN.filters) if name not in KNOWN.filters else outside_filter(name)
    given = dict(zip(known.parameters, arguments, strict=False)) | dict(keywords)
    if len(arguments) + len(keywords) != len(given) or not given.keys() <= set(known.parameters):
        raise outside_filter(name)
    return known.apply(element, given)


def _along(element: Value, path: Value) -> Value:
    if not isinstance(path.literal, str):
        raise Refusal("an attribute that is no text", "name a field", outside=True)
    for name in path.literal.split("."):
        element = field(element, name)
    return element


def _tested(element: Value, arguments: Sequence[Value]) -> pl.Expr:
    if not arguments:
        return truth(element)
    name = str(arguments[0].literal)
    if name not in TESTS:
        raise (
            Refusal(f"the test `is {name}`", "use ==, `in`, `is defined`", outside=True)
            if name in KNOWN.tests
            else unknown_test(name, KNOWN.tests)
        )
    return TESTS[name](element, arguments[1:])
