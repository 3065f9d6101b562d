"""The Jinja filters, indexes and slices of the compiled core, as functions from values to values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache

import polars as pl

from orchestrator.data import template_numbers as numbers
from orchestrator.data import template_texts as texts
from orchestrator.data.template_faults import outside_filter, unknown_field
from orchestrator.data.template_json import json_text
from orchestrator.data.template_values import (
    WHITESPACE,
    Refusal,
    Scalar,
    Value,
    called,
    choose,
    defined,
    derive,
    full_text,
    inner_type,
    instance,
    truth,
    typed,
    written,
)

TEXT = pl.String()
INTEGER = pl.Int64()

Given = Mapping[str, Value]


@dataclass(frozen=True)
class Filter:
    """A filter: its function, and the names of its parameters in Jinja's order."""

    apply: Callable[[Value, Given], Value]
    parameters: tuple[str, ...] = ()


def field(value: Value, name: str) -> Value:
    """A field of a struct; missing stays missing."""
    if value.kind == "missing":
        return value
    if not isinstance(value.dtype, pl.Struct):
        raise Refusal(
            f"{called(value.kind)} has no field {name!r}", "only a struct column has fields", word=name
        )
    types = {one.name: instance(one.dtype) for one in value.dtype.fields}
    if name not in types:
        raise unknown_field(name, types)
    return typed(value.expr.struct.field(name), types[name])


def item(value: Value, index: Value) -> Value:
    """An element of a list or a character of a text; missing where the index is out of range."""
    if value.kind == "missing" or index.kind == "missing":
        return written(None)
    if index.kind != "integer" or value.kind not in ("list", "text"):
        raise Refusal(
            f"{called(value.kind)} has no index of this kind", "index a list or a text with a whole number"
        )
    place = index.expr.cast(pl.Int64, strict=False)
    if value.kind == "list":
        found = typed(value.expr.list.get(place, null_on_oob=True), inner_type(value.dtype))
        return replace(found, from_row=value.from_row)
    character = value.expr.str.slice(place, 1)
    return derive("text", pl.when(character != "").then(character), TEXT, value, nullable=True)


def part(value: Value, start: int | None, stop: int | None) -> Value:
    """`value[start:stop]` of a list or a text, as in Python."""
    if value.kind == "missing":
        return value
    if value.kind not in ("list", "text"):
        raise Refusal(f"{called(value.kind)} cannot be sliced", "slice a list or a text")
    size = value.expr.list.len() if value.kind == "list" else value.expr.str.len_chars()
    begin = _place(start or 0, size)
    length = None
    if stop is not None:
        both_from_front = stop >= 0 and (start or 0) >= 0
        length = (
            pl.lit(max(stop - (start or 0), 0)) if both_from_front else _difference(_place(stop, size), begin)
        )
    cut = (
        value.expr.list.slice(begin, length) if value.kind == "list" else value.expr.str.slice(begin, length)
    )
    return derive(value.kind, cut, value.dtype, value, nullable=value.nullable)


def _place(bound: int, size: pl.Expr) -> pl.Expr:
    if bound >= 0:
        return pl.lit(bound, INTEGER)
    return (size.cast(pl.Int64) + bound).clip(lower_bound=0)


def _difference(stop: pl.Expr, start: pl.Expr) -> pl.Expr:
    return (stop - start).clip(lower_bound=0)


def _trim(value: Value, given: Given) -> Value:
    characters = _literal_text(given, "chars", WHITESPACE)
    trimmed = full_text(value).str.strip_chars(characters) if characters else full_text(value)
    return derive("text", trimmed, TEXT, value)


def _lower(value: Value, given: Given) -> Value:
    return derive("text", full_text(value).str.to_lowercase(), TEXT, value)


def _upper(value: Value, given: Given) -> Value:
    return derive("text", full_text(value).str.to_uppercase(), TEXT, value)


def _capitalize(value: Value, given: Given) -> Value:
    whole = full_text(value)
    first = whole.str.slice(0, 1)
    lowered = first.str.to_lowercase().str.len_chars()
    head = first.replace_strict(_title_forms(), default=first.str.to_uppercase(), return_dtype=pl.String)
    return derive("text", pl.concat_str([head, whole.str.to_lowercase().str.slice(lowered)]), TEXT, value)


@cache
def _title_forms() -> dict[str, str]:
    """The characters whose title case is not their upper case (`ß`, `ǆ`); all in the first plane."""
    return {chr(code): chr(code).title() for code in range(0x10000) if chr(code).title() != chr(code).upper()}


def _string(value: Value, given: Given) -> Value:
    return derive("text", full_text(value), TEXT, value)


def _replace(value: Value, given: Given) -> Value:
    old, count = _literal_text(given, "old", ""), _literal_integer(given, "count", -1)
    if not old:
        raise Refusal("`replace` needs a non-empty text to look for", "write it as a literal", word="replace")
    if "new" not in given:
        raise Refusal("`replace` needs the text to put in", "write `replace('old', 'new')`", word="replace")
    whole, new = full_text(value), full_text(given["new"])
    if not value.from_row and not given["new"].known:
        # Polars does not stretch a lone literal to the length of the column put into it.
        whole = pl.concat_str([whole, new.str.head(0)])
    if count < 0 and given["new"].known:
        done = whole.str.replace_all(old, new, literal=True)
    elif count < 0:
        # Polars may evaluate a branch that no row takes on nulls, which `replace_all` does not take as `new`.
        done = whole.str.split(old).list.join(new)
    elif count == 0:
        done = whole
    else:
        done = whole.str.replace(old, _literal_text(given, "new", ""), literal=True, n=count)
    return derive("text", done, TEXT, value, given["new"])


def _truncate(value: Value, given: Given) -> Value:
    if value.kind == "missing":
        return value
    _need(value, "truncate", "text")
    length, end = _literal_integer(given, "length", 255), _literal_text(given, "end", "...")
    leeway = _literal_integer(given, "leeway", 5)
    if length < len(end) or leeway < 0:
        raise Refusal(
            "`truncate` needs room for its ending", f"use a length of at least {len(end)}", word="truncate"
        )
    head = value.expr.str.slice(0, length - len(end))
    if not _literal_boolean(given, "killwords", False):
        head = head.str.replace(r" [^ ]*\z", "")
    short = value.expr.str.len_chars() <= length + leeway
    cut = pl.when(short).then(value.expr).otherwise(pl.concat_str([head, pl.lit(end)]))
    return derive("text", cut, TEXT, value, nullable=value.nullable)


def _default(value: Value, given: Given) -> Value:
    fallback = given.get("default_value", written(""))
    test = truth if _literal_boolean(given, "boolean", False) else defined
    return choose(test(value), value, fallback)


def _length(value: Value, given: Given) -> Value:
    if value.kind == "missing":
        return written(0)
    _need(value, "length", "text", "list")
    size = value.expr.str.len_chars() if value.kind == "text" else value.expr.list.len()
    return derive("integer", size.cast(pl.Int64).fill_null(0), INTEGER, value)


def _join(value: Value, given: Given) -> Value:
    separator = full_text(given["d"]) if "d" in given else pl.lit("")
    if value.kind == "missing":
        return derive("text", full_text(value), TEXT, value)
    _need(value, "join", "list")
    element = typed(pl.element(), inner_type(value.dtype))
    if "attribute" in given:
        element = field(element, _literal_text(given, "attribute", ""))
    joined = value.expr.list.eval(full_text(element)).list.join(separator)
    return derive("text", joined.fill_null(""), TEXT, value)


def _first(value: Value, given: Given) -> Value:
    return _end(value, "first", 0)


def _last(value: Value, given: Given) -> Value:
    return _end(value, "last", -1)


def _end(value: Value, name: str, place: int) -> Value:
    if value.kind == "missing":
        return value
    _need(value, name, "text", "list")
    return item(value, written(place))


def _list(value: Value, given: Given) -> Value:
    if value.kind not in ("list", "missing"):
        raise outside_filter("list")
    return value


def _tojson(value: Value, given: Given) -> Value:
    blank = value.expr.is_null() if value.from_row and value.nullable else None
    return replace(derive("text", json_text(value), TEXT, value), blank=blank)


def _indent(value: Value, given: Given) -> Value:
    width = _literal(given, "width", 4)
    space = width if isinstance(width, str) else " " * _literal_integer(given, "width", 4)
    first, blank = (_literal_boolean(given, name, False) for name in ("first", "blank"))
    return texts.indent(value, space, first=first, blank=blank)


def _int(value: Value, given: Given) -> Value:
    return numbers.to_integer(value, _literal_integer(given, "default", 0))


def _float(value: Value, given: Given) -> Value:
    default = _literal(given, "default", 0.0)
    if isinstance(default, str | bool | None):
        raise Refusal("`default` must be a number", "write it as a number")
    return numbers.to_float(value, float(default))


def _need(value: Value, name: str, *kinds: str) -> None:
    if value.kind not in kinds:
        allowed = " or ".join(kinds)
        raise Refusal(
            f"`{name}` does not take {called(value.kind)}", f"give it a {allowed}", word=name, outside=True
        )


def _literal_text(given: Given, name: str, default: str) -> str:
    found = _literal(given, name, default)
    if isinstance(found, str):
        return found
    raise Refusal(f"`{name}` must be a text", f"write {name} in quotes")


def _literal_integer(given: Given, name: str, default: int) -> int:
    found = _literal(given, name, default)
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    raise Refusal(f"`{name}` must be a whole number", f"write {name} as a number")


def _literal_boolean(given: Given, name: str, default: bool) -> bool:
    found = _literal(given, name, default)
    if isinstance(found, bool):
        return found
    raise Refusal(f"`{name}` must be true or false", f"write {name} as true or false")


def _literal(given: Given, name: str, default: Scalar) -> Scalar:
    if name not in given:
        return default
    if not given[name].known:
        raise Refusal(f"`{name}` depends on the row", "write its value into the template", outside=True)
    return given[name].literal


FILTERS: dict[str, Filter] = {
    "abs": Filter(lambda value, given: numbers.absolute(value)),
    "capitalize": Filter(_capitalize),
    "count": Filter(_length),
    "d": Filter(_default, ("default_value", "boolean")),
    "default": Filter(_default, ("default_value", "boolean")),
    "first": Filter(_first),
    "float": Filter(_float, ("default",)),
    "indent": Filter(_indent, ("width", "first", "blank")),
    "int": Filter(_int, ("default",)),
    "join": Filter(_join, ("d", "attribute")),
    "last": Filter(_last),
    "length": Filter(_length),
    "list": Filter(_list),
    "lower": Filter(_lower),
    "replace": Filter(_replace, ("old", "new", "count")),
    "round": Filter(lambda value, given: numbers.rounded(value)),
    "string": Filter(_string),
    "title": Filter(lambda value, given: texts.title(value)),
    "tojson": Filter(_tojson),
    "trim": Filter(_trim, ("chars",)),
    "truncate": Filter(_truncate, ("length", "killwords", "end", "leeway")),
    "upper": Filter(_upper),
    "wordcount": Filter(lambda value, given: texts.wordcount(value)),
}
