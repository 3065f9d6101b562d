"""What to say of a template that the core does not compile: the construct, and what to use instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from jinja2 import nodes
from jinja2.filters import FILTERS as JINJA_FILTERS

from orchestrator.data.template_values import Refusal
from orchestrator.nearest import nearest

OUTSIDE: dict[type[nodes.Node], tuple[str, str]] = {
    nodes.For: (
        "a {% for %} loop",
        "use `| join` for a list, or a mapping that reads turns or conversations",
    ),
    nodes.Macro: ("a {% macro %}", "write its text where it is used, or use {% set %}"),
    nodes.CallBlock: ("a {% call %} block", "write its text where it is used"),
    nodes.FilterBlock: ("a {% filter %} block", "use the filter with `|` on each value"),
    nodes.With: ("a {% with %} block", "use {% set %}"),
    nodes.AssignBlock: ("a {% set %} block", "write {% set name = ... %} and join texts with `~`"),
    nodes.Block: ("a {% block %}", "write its text in place"),
    nodes.Call: ("a call", "use a filter: `| lower`, `| replace(..)`, `| join(..)`"),
    nodes.List: ("a list made in the template", "use a list after `in`, or write the texts one by one"),
    nodes.Tuple: ("a tuple made in the template", "use it after `in`, or write the texts one by one"),
    nodes.Dict: ("a dictionary made in the template", "use {% if %} and {% elif %}"),
    nodes.Pow: ("a power", "multiply with `*`"),
    nodes.Slice: ("a slice here", "slice a list or a text: `text[0:100]`"),
}


OTHER_TEMPLATES: dict[type[nodes.Node], str] = {
    nodes.Extends: "{% extends %}",
    nodes.Include: "{% include %}",
    nodes.Import: "{% import %}",
    nodes.FromImport: "{% from ... import %}",
}


def unknown_filter(name: str, core: Iterable[str]) -> Refusal:
    """A filter that only Jinja has, or nobody; `core` names those of the core."""
    there = ", ".join(sorted(core))
    if name == "random":
        return Refusal("`random` would give other data each time", "take the first or the last", word=name)
    if name in JINJA_FILTERS and name not in core:
        return outside_filter(name, f"use one of: {there}")
    return Refusal(
        f"there is no filter `{name}`", f"{_did_you_mean(name, core)}the filters are: {there}", word=name
    )


def outside(node: nodes.Node) -> Refusal:
    """A construct that only Jinja runs."""
    if type(node) in OTHER_TEMPLATES:
        what = f"there is no other template for {OTHER_TEMPLATES[type(node)]} to read"
        return Refusal(what, "write the whole template in one text")
    construct, fix = OUTSIDE.get(type(node), (f"`{type(node).__name__}`", "use fields, filters and {% if %}"))
    return Refusal(f"{construct} lies outside the compiled core", fix, outside=True)


def outside_filter(name: str, fix: str = "use other filters, fields and {% if %}") -> Refusal:
    """A filter that only Jinja has, or used in a way that only Jinja knows."""
    return Refusal(f"the filter `{name}` lies outside the compiled core", fix, outside=True, word=name)


def unknown_test(name: str, known: Iterable[str]) -> Refusal:
    """A test that nobody has."""
    words = sorted(one for one in known if one.isalpha())
    fix = f"{_did_you_mean(name, words)}the tests are: {', '.join(words)}"
    return Refusal(f"there is no test `{name}`", fix, word=name)


def unknown_field(name: str, fields: Iterable[str]) -> Refusal:
    """A field that a struct does not have."""
    return Refusal(f"there is no field {name!r}", f"the fields are {', '.join(sorted(fields))}", word=name)


def columns_there_are(name: str, schema: Mapping[str, object]) -> str:
    """The fix for an unknown column; a name that is no Jinja name is written as one has to write it."""
    near = _near(name, schema)
    if near is not None and not near.isidentifier():
        return f"did you mean `row[{near!r}]`? the columns are: {', '.join(schema)}"
    return f"{_did_you_mean(name, schema)}the columns are: {', '.join(schema)}"


def _did_you_mean(name: str, choices: Iterable[str]) -> str:
    near = _near(name, choices)
    return "" if near is None else f"did you mean `{near}`? "


def _near(name: str, choices: Iterable[str]) -> str | None:
    by_lower = {choice.lower(): choice for choice in choices}
    near = nearest(name.lower(), by_lower)
    return by_lower[near] if near else None
