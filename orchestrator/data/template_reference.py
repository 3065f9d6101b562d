"""Real Jinja, sandboxed, under the rules of `template.py`: what the compiled core must equal.

It also renders the templates that lie outside the core, one row at a time.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

from jinja2 import ChainableUndefined, Environment, nodes, pass_environment
from jinja2.filters import do_float, do_indent, do_int, do_round, make_attrgetter
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

# What `int` and `float` read in a text, once it is trimmed.
INTEGER_TEXT = r"^[+-]?[0-9]+$"
FLOAT_TEXT = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"


class Missing(ChainableUndefined):
    """A null, a missing key, an index out of range: one thing, which prints as nothing."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, ChainableUndefined)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return 0

    def __lt__(self, other: object) -> bool:  # type: ignore[override]
        return False

    def __le__(self, other: object) -> bool:  # type: ignore[override]
        return False

    def __gt__(self, other: object) -> bool:  # type: ignore[override]
        return False

    def __ge__(self, other: object) -> bool:  # type: ignore[override]
        return False


class Sandbox(ImmutableSandboxedEnvironment):
    """Jinja with our rules for null, integers and JSON; templates are checked for unsafe access."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%", "**"])
    intercepted_unops = frozenset(["-"])

    def __init__(self) -> None:
        super().__init__(undefined=Missing, finalize=self._printed)
        self.empty = False
        # Data must come out the same each time.
        del self.globals["lipsum"], self.filters["random"]
        self.filters.update(FILTERS)
        self.filters.update({name: _as_list(self.filters[name]) for name in LISTS})
        self.tests.update({name: _of_present(self.tests[name]) for name in OF_PRESENT})
        self.tests.update({"in": _is_in, "none": _is_none, "defined": _is_defined, "undefined": _is_none})

    def _printed(self, value: object) -> str:
        text = printed(value)
        self.empty = self.empty or not text
        return text

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A key of a mapping before any method of its name; raises for what no text, number or list has."""
        if isinstance(obj, Missing):
            return obj
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        return _there(super().getattr(obj, attribute), obj)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """A key of a mapping, an element of a list; Missing for any other."""
        if isinstance(obj, Missing):
            return obj
        if isinstance(obj, Mapping):
            return obj.get(argument, Missing()) if isinstance(argument, Hashable) else Missing()
        found = super().getitem(obj, argument)
        return _there(found, obj) if isinstance(argument, str) else found

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """A method of what is missing is missing."""
        return obj if isinstance(obj, Missing) else super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic that is missing where a side is, where the divisor is 0, or beyond 64 bits."""
        if isinstance(left, Missing) or isinstance(right, Missing):
            return Missing()
        if operator == "/" and isinstance(left, int) and isinstance(right, int):
            left, right = float(left), float(right)
        try:
            return _within_64_bits(super().call_binop(context, operator, left, right))
        except ZeroDivisionError:
            return Missing()

    def call_unop(self, context: Any, operator: str, argument: Any) -> Any:
        """A negative, missing under the same rules."""
        if isinstance(argument, Missing):
            return argument
        return _within_64_bits(super().call_unop(context, operator, argument))


@dataclass(frozen=True)
class Rendered:
    """The text of a row; `empty` where something that was printed was missing or came out empty."""

    text: str
    empty: bool


def render_reference(source: str, row: Mapping[str, object]) -> str:
    """The text of one row by real Jinja under the stated rules; raises what Jinja raises."""
    return renderer(source)({name: shape(value) for name, value in row.items()}).text


def renderer(source: str, *, condition: bool = False) -> Callable[[Mapping[str, object]], Rendered]:
    """A template as a function from a shaped row to its text, parsed once; raises what Jinja raises.

    A `condition` is a bare expression; its text is "1" where it holds, "" where not.
    """
    sandbox = Sandbox()
    tree = _condition(sandbox, source) if condition else sandbox.parse(source)
    _apply_rules(tree)
    tree.set_environment(sandbox)
    template = sandbox.from_string(tree)

    def render(row: Mapping[str, object]) -> Rendered:
        sandbox.empty = False
        text = template.render({"row": row, **row})
        return Rendered(text, sandbox.empty)

    return render


def _condition(sandbox: Sandbox, source: str) -> nodes.Template:
    test = Parser(sandbox, source, state="variable").parse_expression()
    choice = nodes.CondExpr(test, nodes.Const("1"), nodes.Const(""))
    template = nodes.Template([nodes.Output([choice])])
    template.set_lineno(1)
    return template


def shape(value: object) -> object:
    """A row's value with every null in it, at any depth, turned into Missing."""
    if value is None:
        return Missing()
    if isinstance(value, Mapping):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [shape(inner) for inner in value]
    return value


def pairs(comparison: nodes.Compare) -> list[tuple[nodes.Expr, str, nodes.Expr]]:
    """The single comparisons of a chain such as `1 < x < 5`."""
    sides = [comparison.expr, *(operand.expr for operand in comparison.ops)]
    operators = [operand.op for operand in comparison.ops]
    return list(zip(sides, operators, sides[1:], strict=False))


def _apply_rules(tree: nodes.Node) -> None:
    """Make `none` and a lacking `else` missing, and let `in` look for a missing value in text."""
    for name, value in list(tree.iter_fields()):
        if isinstance(value, list):
            setattr(tree, name, [_ruled(one) if isinstance(one, nodes.Node) else one for one in value])
        elif isinstance(value, nodes.Node):
            setattr(tree, name, _ruled(value))


def _ruled(node: nodes.Node) -> nodes.Node:
    _apply_rules(node)
    if isinstance(node, nodes.Const) and node.value is None:
        return _missing(node.lineno)
    if isinstance(node, nodes.CondExpr) and node.expr2 is None:
        return nodes.CondExpr(node.test, node.expr1, _missing(node.lineno), lineno=node.lineno)
    if isinstance(node, nodes.Concat):
        return nodes.Concat([nodes.Filter(one, "string", [], [], None, None) for one in node.nodes])
    if isinstance(node, nodes.Compare):
        found = [_ruled_pair(*pair, node.lineno) for pair in pairs(node)]
        whole = found[0]
        for one in found[1:]:
            whole = nodes.And(whole, one, lineno=node.lineno)
        return whole
    return node


def _missing(line: int) -> nodes.Expr:
    return nodes.Getitem(nodes.Dict([]), nodes.Const(""), "load", lineno=line)


def _ruled_pair(left: nodes.Expr, operator: str, right: nodes.Expr, line: int) -> nodes.Expr:
    if operator in ("in", "notin"):
        test = nodes.Test(left, "in", [right], [], None, None, lineno=line)
        return nodes.Not(test, lineno=line) if operator == "notin" else test
    return nodes.Compare(left, [nodes.Operand(operator, right)], lineno=line)


def _there(found: Any, owner: object) -> Any:
    if isinstance(found, Missing) and found._undefined_obj is owner and not isinstance(owner, Mapping):
        found._fail_with_undefined_error()
    return found


def _within_64_bits(value: Any) -> Any:
    return Missing() if isinstance(value, int) and not -(2**63) <= value < 2**63 else value


def _is_none(value: object) -> bool:
    return value is None or isinstance(value, Missing)


def _is_defined(value: object) -> bool:
    return not _is_none(value)


def _is_in(value: object, container: Any) -> bool:
    return False if _is_none(value) and isinstance(container, str) else value in container


def printed(value: object) -> str:
    """A value as `{{ }}` prints it; raises TypeError for what has no text of its own."""
    if _is_none(value):
        return ""
    if isinstance(value, str | int | float | dt.date):
        return str(value)
    fix = "use `| join(', ')` or `| tojson`" if isinstance(value, list | tuple | dict) else "call or index it"
    raise TypeError(f"a {type(value).__name__} cannot be printed as it is: {fix}")


@pass_environment
def _join(environment: Environment, value: Any, d: object = "", attribute: str | int | None = None) -> str:
    items: Iterable[object] = value
    if attribute is not None:
        items = map(make_attrgetter(environment, attribute), value)
    return printed(d).join(map(printed, items))


def _tojson(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=_null)


def _null(value: object) -> None:
    if not isinstance(value, Missing):
        raise TypeError(f"{type(value).__name__} has no JSON form")


def _int(value: Any, default: int = 0, base: int = 10) -> Any:
    if isinstance(value, str) and base == 10:
        text = value.strip()
        if re.match(INTEGER_TEXT, text):
            return _within_64_bits(int(text))
        value = _float(text, math.nan)
    try:
        return default if _is_none(value) else _within_64_bits(do_int(value, default, base))
    except OverflowError:
        return default


def _float(value: Any, default: float = 0.0) -> float:
    if not isinstance(value, str):
        return float(default) if _is_none(value) else do_float(value, float(default))
    text = value.strip()
    found = float(text) if re.match(FLOAT_TEXT, text) else math.inf
    return found if math.isfinite(found) else float(default)


def _abs(value: Any) -> Any:
    return value if _is_none(value) else _within_64_bits(abs(value))


def _indent(value: object, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    return do_indent(printed(value), width, first, blank)


def _round(value: Any, precision: int = 0, method: Literal["common", "ceil", "floor"] = "common") -> Any:
    return value if _is_none(value) else do_round(value, precision, method)


def _as_list(apply: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that gives a list where Jinja's own gives an iterator, and missing for what is missing."""

    @wraps(apply)
    def listed(*given: Any, **named: Any) -> Any:
        subject = given[1] if hasattr(apply, "jinja_pass_arg") else given[0]
        if isinstance(subject, Missing):
            return subject
        found = apply(*given, **named)
        return found if isinstance(found, str) else list(found)

    return listed


def _of_present(test: Any) -> Callable[..., bool]:
    @wraps(test)
    def tested(value: object, *given: Any) -> bool:
        return not _is_none(value) and bool(test(value, *given))

    return tested


LISTS = (
    "list",
    "map",
    "select",
    "reject",
    "selectattr",
    "rejectattr",
    "unique",
    "reverse",
    "batch",
    "slice",
    "items",
)
OF_PRESENT = (
    *("string", "number", "integer", "float", "boolean", "mapping", "iterable", "sequence", "true", "false"),
    *("odd", "even", "divisibleby", "lower", "upper", "callable"),
)
FILTERS: dict[str, Callable[..., Any]] = {
    "abs": _abs,
    "float": _float,
    "indent": _indent,
    "int": _int,
    "join": _join,
    "round": _round,
    "string": printed,
    "tojson": _tojson,
}
