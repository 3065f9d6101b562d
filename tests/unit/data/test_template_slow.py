# ruff: noqa: E501 - tables read best with one case to a line
"""Templates outside the compiled core: rendered row by row in a sandboxed child, within limits."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
import pytest
import template_writer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from jinja2 import TemplateError

from orchestrator.data.template import (
    Condition,
    Template,
    compile_condition,
    compile_template,
    render_reference,
)
from orchestrator.data.template_outside import form
from orchestrator.data.template_slow import FRAME_ROWS, MOST_CHILDREN, MOST_LIMITS, Task, outcome
from orchestrator.data.template_values import instance, plain

SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "s": pl.String,
    "n": pl.Int64,
    "f": pl.Float32,
    "tags": pl.List(pl.String),
    "turns": pl.List(pl.Struct({"role": pl.String, "day": pl.Date, "at": pl.List(pl.Datetime("ms"))})),
    "kind": pl.Categorical(),
    "pair": pl.Array(pl.UInt64, 2),
}
FULL: dict[str, Any] = {
    "s": "Hé\u2028\x00\t",
    "n": -7,
    "f": 0.1,
    "tags": ["a", None, ""],
    "turns": [{"role": "user", "day": dt.date(987, 1, 2), "at": [dt.datetime(2024, 2, 3, 4, 5, 6, 7000), None]}, None],
    "kind": "x",
    "pair": [2**64 - 1, 0],
}  # fmt: skip
NOTHING = dict.fromkeys(SCHEMA)
# Makes any template one that only Jinja runs.
SLOW = "{% macro unused() %}{% endmacro %}"


def outcomes(
    ready: Template | Condition, rows: Sequence[Mapping[str, Any]], schema: Mapping[str, Any] = SCHEMA
) -> pl.DataFrame:
    """The columns text (or holds), empty and failure of a slow template."""
    assert ready.slow
    shown = (
        {"text": ready.text, "empty": ready.empty} if isinstance(ready, Template) else {"holds": ready.holds}
    )
    frame = pl.DataFrame(rows, schema=schema).with_row_index("axo_row", 1).lazy()
    return (
        frame.with_columns(ready.slow.outcome)
        .select(failure=ready.slow.failure, **shown)
        .collect(engine="streaming")
    )


def rendered(source: str, rows: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Texts, or failures where there is one."""
    found = outcomes(compile_template(source + SLOW, SCHEMA, slow="slow"), rows)
    return [failure or text for failure, text in found.select("failure", "text").rows()]


@pytest.mark.parametrize(
    ("source", "full", "nothing"),
    [
        ("{% for tag in tags %}{{ loop.index }}{{ tag }};{% endfor %}", "1a;2;3;", ""),
        ("{% for turn in turns %}{{ turn.role }} {{ turn.day }} {{ turn.at | join(' ') }}|{% endfor %}", "user 0987-01-02 2024-02-03 04:05:06.007000 |  |", ""),
        ("{{ turns | map(attribute='role') | list | length }}{{ s.upper() | tojson }}", '2"HÉ\u2028\\u0000\\t"', "0null"),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(n) }}{{ m(f) }}{{ m(kind) }}", "<-7><0.10000000149011612><x>", "<><><>"),
        ("{% for number in pair %}{{ number }},{% endfor %}", "18446744073709551615,0,", ""),
        ("{% for x in range(3) %}{{ x }}{% endfor %}", "012", "012"),
        ("{% set ns = namespace(x=0) %}{% for t in tags %}{% set ns.x = ns.x + 1 %}{% endfor %}{{ ns.x }}", "3", "0"),
        ("{% for key in row %}{{ key }} {% endfor %}", "s n f tags turns kind pair ", "s n f tags turns kind pair "),
        ("{{ n / 2 }} {{ n / 0 }} {{ 'a' + s }} {{ '%.3f' | format(n) if n else '' }}", "-3.5  aHé\u2028\x00\t -7.000", "   "),
    ],
)  # fmt: skip
def test_rows_are_rendered_as_jinja_would(source: str, full: str, nothing: str) -> None:
    assert rendered(source, [FULL, NOTHING]) == [full, nothing]
    read_back = pl.DataFrame([FULL, NOTHING], schema=SCHEMA).to_dicts()
    assert [render_reference(source, row) for row in read_back] == [full, nothing]


def test_rows_keep_their_order_over_many_frames_and_children() -> None:
    schema = {"n": pl.Int64, "s": pl.String}
    rows = pl.DataFrame({"n": range(5 * FRAME_ROWS), "s": "x" * 2000}, schema=schema)
    ready = compile_template("{{ n }}{{ s[:0] }}" + SLOW, schema, slow="slow")
    assert ready.slow
    frame = pl.concat([part.lazy() for part in rows.with_row_index("axo_row").iter_slices(700)])
    texts = frame.with_columns(ready.slow.outcome).select(ready.text).collect(engine="streaming").to_series()
    assert texts.to_list() == [str(n) for n in rows["n"]]


def test_conditions_run_row_by_row_too() -> None:
    ready = compile_condition("s.startswith('H') or tags | max > 'b' or s.index('x')", SCHEMA, slow="slow")
    found = outcomes(ready, [FULL, {"s": "y"}, {"s": "y", "tags": ["c"]}, {"s": "x", "tags": ["a"]}])
    assert found["holds"].to_list() == [True, True, True, False]
    assert found["failure"].is_null().to_list() == [True, False, True, True]


def test_an_exception_fails_its_row_alone_and_tells_the_line() -> None:
    source = "a\n{% for tag in tags %}{{ 10 + n if tag == 'a' else s + n }}{% endfor %}"
    found = rendered(
        source, [{"tags": ["a"], "n": 1}, {"tags": ["b"], "s": "x", "n": 1}, {"tags": ["a"], "n": 2}]
    )
    assert found == ["a\n11", 'line 2 of the template: can only concatenate str (not "int") to str', "a\n12"]


def test_what_has_no_text_fails_its_row() -> None:
    assert "cannot be printed as it is" in str(
        rendered("{% for tag in tags %}{{ tags }}{% endfor %}", [FULL])
    )


def test_a_printed_field_that_is_empty_is_marked() -> None:
    ready = compile_template("{% for tag in tags %}{{ tag }}{% endfor %}" + SLOW, SCHEMA, slow="slow")
    found = outcomes(ready, [{"tags": ["a"]}, {"tags": ["a", None]}, {"tags": [""]}, {"tags": []}])
    assert found["empty"].to_list() == [False, True, True, False]


BOMBS = {
    "{{ 'x' * 100000000 if n == 1 else n }}": "more than 16,777,216 characters",
    "{{ ('x' * 100000000) ~ ('y' * 200000000) if n == 1 else n }}": "more than 256 MiB of memory",
    "{% for a in range(20000 if n == 1 else 1) %}{% for b in range(1000) %}{{ loop.index if b < 0 }}{% endfor %}{% endfor %}{{ n }}": "more than 1 second of processor time",
    "{% set ns = namespace(s='x') %}{% for a in range(99 if n == 1 else 0) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ n }}": "more than 256 MiB of memory",
    "{{ (9 ** (9 ** 9)) | length if n == 1 else n }}": "more than",
    "{{ '%0999999999d' | format(n) if n == 1 else n }}": "more than 256 MiB of memory",
    "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) if n == 1 else n }}": "calls itself without end",
    "{{ ('a' | center(3)).__class__.__mro__[1].__subclasses__() | list if n == 1 else n }}": "unsafe",
    "{{ cycler.__init__.__globals__.os.system('true') if n == 1 else n }}": "unsafe",
}  # fmt: skip


@pytest.mark.parametrize(("source", "what"), BOMBS.items())
def test_a_bomb_fails_its_row_and_the_next_is_rendered(source: str, what: str) -> None:
    before, bomb, after = rendered(source, [{"n": 0}, {"n": 1}, {"n": 2}])
    assert what in str(bomb)
    assert (before, after) == ("0", "2")


def test_a_bomb_in_every_row_is_given_up() -> None:
    found = rendered("{{ ('x' * 300000000) | length }}", [{"n": 0}] * 2 * FRAME_ROWS)
    met = [text for text in found if text == "it needs more than 256 MiB of memory"]
    given_up = [text for text in found if str(text).startswith("not rendered, since 5 rows met a limit: ")]
    assert MOST_LIMITS <= len(met) < MOST_LIMITS + MOST_CHILDREN
    assert len(met) + len(given_up) == len(found)


def test_a_constant_is_folded_inside_the_child() -> None:
    found = rendered("{{ ([1] | list * 4000000000) | length }}", [{"n": 0}] * 9)
    assert "memory" in str(found[0])


@pytest.mark.parametrize("attempt", ["open('/etc/passwd')", "socket.socket()", "os.pipe()"])
def test_the_child_can_open_nothing(attempt: str) -> None:
    """Even code that got out of the sandbox would find no file descriptor for a file or a socket."""
    script = f"import os, socket\nfrom orchestrator.data.template_child import limit\nlimit()\n{attempt}"
    ended = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "Too many open files" in ended.stderr


# Each example starts a child, so they are a quarter of those of the compiled core.
@settings(
    max_examples=int(os.environ.get("AXO_PROVE", "80")) // 4,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)
@given(
    source=st.one_of(template_writer.templates(), template_writer.outside_templates()),
    rows=st.lists(template_writer.ROW, min_size=3, max_size=6),
)
def test_random_templates_in_the_child_equal_real_jinja(source: str, rows: list[dict[str, Any]]) -> None:
    frame = pl.DataFrame([*rows, template_writer.NOTHING], schema=template_writer.SCHEMA)
    found = rendered_by_a_child(source, frame)
    for row, text, failure in zip(frame.to_dicts(), *found, strict=True):
        if failure is None:
            assert text == render_reference(source, row)
        else:
            with pytest.raises(
                (TypeError, ValueError, LookupError, TemplateError, ArithmeticError)
            ) as caught:
                render_reference(source, row)
            assert str(caught.value)[:250] in failure


def rendered_by_a_child(source: str, frame: pl.DataFrame) -> tuple[list[str | None], list[str | None]]:
    """Texts and failures, whether or not the template could be compiled."""
    schema = {name: instance(dtype) for name, dtype in frame.schema.items()}
    forms = {name: form(plain(dtype)) for name, dtype in schema.items()}
    child = outcome(Task(source, False, forms), schema).alias("outcome")
    found = frame.with_row_index("axo_row", 1).lazy().select(child).collect().unnest("outcome")
    return found["text"].to_list(), found["failure"].to_list()
