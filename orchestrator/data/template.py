"""Jinja templates made ready for rows: compiled to Polars expressions, or run row by row in a child.

Both ways follow the rules below, and the compiled core equals real Jinja under them (`docs/templates.md`
tells users the same; `template_reference.py` is Jinja under the rules).

Missing. A null, an index out of range, a name set only in a branch not taken: all are one thing, missing.
    It prints as nothing, is undefined, is none, equals only itself, is false, has length 0, and is `null`
    in JSON. Its fields, items, slices, methods and arithmetic are missing; `<` and its kin are false with
    it; no text holds it; it is of no kind (`is string`, `is odd`). The filters that make text (trim, lower,
    upper, title, capitalize, indent, replace, string, join) make "" of it; `map`, `select` and their kin
    leave it.
Columns. An unknown column or struct field is a fault before any row is read. `a.b` and `a['b']` are the
    same. A column whose name is no Jinja name is `row['Its name']`. Categories are text; all integers are
    one kind.
Printing. Text, numbers, booleans (True, False), dates, and naive datetimes, as Python's str() has them; a
    float of 32 bits as the 64-bit number that it is. What has no text of its own, such as a list, is
    refused.
Text. Counted, cut and indexed in code points, and ordered by them. `+` joins two texts, and is missing
    where one is; `~` joins anything. `trim` takes off Python's whitespace. `upper` and `lower` are
    Python's, but for case pairs that Unicode gained after the running Python's tables (55 of them for
    Python 3.11): Polars changes those, Python leaves them.
Numbers. Integers have 64 bits and `//` and `%` are floored as in Python; `/` divides floats. A division by
    0 is missing, and so is an integer beyond 64 bits. With NaN only != holds. `int` and `float` read in a
    text, once it is trimmed, digits of ASCII with a sign, a point and an exponent; their default stands for
    any other text, for what is not finite, and for what is missing. `round` without arguments rounds half
    to even.
JSON. `tojson` is json.dumps(value, ensure_ascii=False): it keeps the order of keys and escapes no HTML.
Lists. Filters that give an iterator in Jinja give a list. A dictionary in the template may have any keys.
Space. Jinja's defaults: line ends become "\\n", one newline at the end is dropped, `-` trims.
Outside the core: macros, other calls, loops over anything but a list or with a body that reads more of the
    row than its element, `**`, other filters and tests, and more. The first constructs of a template that
    lie outside are named. Its rows then run in a child (`template_slow.py`), where an exception fails its
    row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from orchestrator.data.template_compile import Walk
from orchestrator.data.template_outside import Reading
from orchestrator.data.template_reference import render_reference
from orchestrator.data.template_slow import Task, outcome
from orchestrator.errors import Fault, SpecError

__all__ = [
    "Condition",
    "Slow",
    "Template",
    "TemplateFault",
    "compile_condition",
    "compile_template",
    "render_reference",
]

Schema = pl.Schema | Mapping[str, pl.DataType | type[pl.DataType]]

FORBIDDEN = "only Jinja itself could run it, row by row, which the settings forbid (`slow_templates: forbid`)"


class TemplateFault(SpecError):
    """The template has faults.

    Lines and columns count inside the template. `outside` is true where every fault is a construct that lies
    outside the compiled core, so that Jinja itself could still run the template row by row.
    """

    def __init__(self, faults: list[Fault], *, outside: bool) -> None:
        super().__init__(faults)
        self.outside = outside


@dataclass(frozen=True)
class Slow:
    """The part of a template that runs row by row: before anything else of it, a frame needs the column
    `outcome`, called `name`, for which it needs `axo_row`. `failure` (String) says on which rows the template
    cannot be rendered, and why; null on all others. `constructs` are what lies outside the compiled core."""

    name: str
    outcome: pl.Expr
    failure: pl.Expr
    constructs: tuple[Fault, ...]


@dataclass(frozen=True)
class Template:
    """A template made ready.

    `text` (String, never null) is the rendered text, or the failure of a slow one. `empty` (Boolean, never
    null) says that a field which the template printed on this row was missing or came out empty: a yellow
    verdict. Either may be a lone literal, always so where the template reads no field (`constant`): use
    `with_columns`, or select it beside a column.
    """

    source: str
    columns: frozenset[str]
    text: pl.Expr
    empty: pl.Expr
    constant: bool
    slow: Slow | None = None


@dataclass(frozen=True)
class Condition:
    """A bare Jinja expression made ready: `holds` (Boolean, never null) is its truth, and true where a slow
    one fails."""

    source: str
    columns: frozenset[str]
    holds: pl.Expr
    slow: Slow | None = None


def compile_template(source: str, schema: Schema, slow: str | None = None) -> Template:
    """Make a template ready for rows of a schema; raises TemplateFault with every fault in it.

    Constructs outside the compiled core are faults too, unless `slow` gives the name under which a frame is
    to have the outcome of rendering row by row.
    """
    walk = Walk(source, schema)
    body = walk.template(source)
    if body is not None and not walk.told:
        empty = pl.lit(False) if body.empty is None else body.empty
        return Template(source, frozenset(walk.columns), body.text(), empty, constant=not walk.columns)
    columns, part = _outside(walk, source, slow, condition=False)
    field = pl.col(part.name).struct.field
    text = pl.coalesce(field("text"), part.failure)
    return Template(source, columns, text, field("empty"), constant=False, slow=part)


def compile_condition(source: str, schema: Schema, slow: str | None = None) -> Condition:
    """Make a bare Jinja expression ready; `slow` and faults as for a template."""
    walk = Walk(source, schema)
    holds = walk.expression(source)
    if holds is not None and not walk.told:
        return Condition(source, frozenset(walk.columns), holds)
    columns, part = _outside(walk, source, slow, condition=True)
    text = pl.col(part.name).struct.field("text")
    return Condition(source, columns, pl.coalesce(text, part.failure) != "", part)


def _outside(walk: Walk, source: str, slow: str | None, *, condition: bool) -> tuple[frozenset[str], Slow]:
    """The columns and the slow part of a template that lies outside the core; raises TemplateFault."""
    reading = Reading(walk.schema, walk.tell)
    if walk.tree is not None:
        reading.visit(walk.tree)
    mistakes = [told.fault for told in walk.told if not told.outside]
    if slow is None:
        faults = [replace(told.fault, why=FORBIDDEN if told.outside else None) for told in walk.told]
        raise TemplateFault(faults, outside=not mistakes)
    if mistakes:
        raise TemplateFault(mistakes, outside=False)
    rows = outcome(Task(source, condition, reading.forms), walk.schema).alias(slow)
    constructs = tuple(told.fault for told in walk.told)
    return frozenset(reading.forms), Slow(slow, rows, pl.col(slow).struct.field("failure"), constructs)
