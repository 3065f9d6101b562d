# ruff: noqa: E501 - tables and grammars read best with one case to a line
"""Compiled templates equal real Jinja under the stated rules, and faults name what is wrong."""

from __future__ import annotations

import datetime as dt
import json
import os
import unicodedata
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, example, given, reject, settings
from hypothesis import strategies as st
from template_writer import NOTHING, ROW, SCHEMA, templates

from orchestrator.data.template import TemplateFault, compile_condition, compile_template, render_reference

FULL: dict[str, Any] = {
    "s": "\u3000 Hé llo\tİß Σας\x1f ",
    "t": "foo bar baz qux",
    "My column": "x$1\\",
    "kind": "ßeta",
    "n": -7,
    "m": 2,
    "big": 2**64 - 1,
    "f": 2.5,
    "b": True,
    "tags": ["a", None, "", "é"],
    "nums": [3, None, -1],
    "pair": [1, 2],
    "deep": {"a": "x", "items": 5, "inner": {"z": None, "words": ["u", "v"]}, "f": 0.5},
    "turns": [{"role": "user", "score": 1e-5, "tags": ["q", None]}, None],
    "day": dt.date(987, 1, 2),
    "at": dt.datetime(2024, 2, 3, 4, 5, 6, 70),
    "void": None,
}
EMPTIES: dict[str, Any] = NOTHING | {
    "s": "",
    "t": " \t\n",
    "n": 0,
    "m": 0,
    "f": 0.0,
    "b": False,
    "tags": [],
    "nums": [None],
    "deep": {"a": None, "items": None, "inner": None, "f": None},
    "turns": [],
    "at": dt.datetime(1, 1, 1),
}
ROWS = [FULL, NOTHING, EMPTIES]


def rendered(
    source: str, rows: list[dict[str, Any]], schema: Mapping[str, Any] = SCHEMA, **engine: Any
) -> list[str]:
    template = compile_template(source, schema)
    frame = pl.DataFrame(rows, schema=schema).lazy()
    return frame.with_columns(template.text.alias("_")).collect(**engine)["_"].to_list()


def faults(source: str) -> TemplateFault:
    with pytest.raises(TemplateFault) as caught:
        compile_template(source, SCHEMA)
    return caught.value


@pytest.mark.parametrize(
    ("source", "fix"),
    [
        ("{{ My column }}", "write {{ row['My column'] }}"),
        ("{{My column|trim}} {{ tag }}", "write {{ row['My column'] }}"),
        ("{{ My_column }}", "did you mean `row['My column']`?"),
        ("{{ tag and tags or }}", "write {{ column }}"),
    ],
)
def test_a_name_in_several_words_is_told_how_to_write(source: str, fix: str) -> None:
    assert fix in str(faults(source).faults[0].fix)


@pytest.mark.parametrize(
    ("source", "full", "nothing"),
    [
        ("plain text", "plain text", "plain text"),
        ("", "", ""),
        ("a\r\nb\rc\n", "a\nb\nc", "a\nb\nc"),
        ("a\n\n", "a\n", "a\n"),
        ("{# note #}x {%- if true %} y {%- endif -%}  z", "x yz", "x yz"),
        ("{% raw %}{{ s }}{% endraw %}", "{{ s }}", "{{ s }}"),
        ("[{{ s | trim }}]", "[Hé llo\tİß Σας]", "[]"),
        ("{{ s | trim | lower }}", "hé llo\ti̇ß σας", ""),
        ("{{ s | trim | upper }}", "HÉ LLO\tİSS ΣΑΣ", ""),
        ("{{ 'ǆ B' | capitalize }} {{ 'ßA' | capitalize }} {{ 'İΣ' | capitalize }}", "ǅ b Ssa İς", "ǅ b Ssa İς"),
        ("{{ 'xxaxx' | trim('x') }}", "a", "a"),
        ("{{ s | length }} {{ tags | count }}", "17 4", "0 0"),
        ("{{ t | truncate(9) }}", "foo...", ""),
        ("{{ t | truncate(9, true) }}", "foo ba...", ""),
        ("{{ t | truncate(11) }}", "foo bar baz qux", ""),
        ("{{ t | truncate(11, false, '...', 0) }}", "foo bar...", ""),
        ("{{ t | truncate(length=5, end='', leeway=0) }}", "foo", ""),
        ("{{ t | replace('o', '$0') }} {{ t | replace('o', 'O', 1) }}", "f$0$0 bar baz qux fOo bar baz qux", " "),
        ("{{ row['My column'] }}", "x$1\\", ""),
        ("{{ kind | upper }} {{ kind == 'ßeta' }}", "SSETA True", " False"),
        ("{{ n }} {{ big }} {{ b }} {{ day }} {{ at }}", "-7 18446744073709551615 True 0987-01-02 2024-02-03 04:05:06.000070", "    "),
        ("{{ n // m }} {{ n % m }} {{ n * m - 1 }} {{ -n + 3 }}", "-4 1 -15 10", "   "),
        ("[{{ n // 0 }}{{ n % 0 }}{{ 9223372036854775807 + n * -1 }}]", "[]", "[]"),
        ("{{ 7 // -2 }} {{ -7 % 3 }} {{ 7 % -3 }}", "-4 2 -2", "-4 2 -2"),
        ("{{ f }} {{ f * 4 - n }} {{ n / m }} {{ n / 0 }} {{ -f }} {{ f + n }}", "2.5 17.0 -3.5  -2.5 -4.5", "     "),
        ("{{ s + t[:3] }} {{ s.strip() < t }} {{ t >= 'foo' }} {{ 'a' < 'B' }}", "\u3000 Hé llo\tİß Σας\x1f foo True True False", " False False False"),
        ("{{ 'ab_c-de (f)ß' | title }} {{ 'a b-c_d é' | wordcount }} {{ -n | abs }}{{ f | abs }}", "Ab_c-De (F)ß 4 72.5", "Ab_c-De (F)ß 4 "),
        ("{{ 'a\nb\n\nc' | indent }}|{{ 'a\n\nb\n' | indent('$1', true, true) }}", "a\n    b\n\n    c|$1a\n$1\n$1b\n$1", "a\n    b\n\n    c|$1a\n$1\n$1b\n$1"),
        ("{{ ' +42 ' | int }} {{ '4.9e1' | int }} {{ '0x' | int(7) }} {{ '99999999999999999999' | int }} {{ 'nan' | float(2) }} {{ '.5' | float }} {{ n | float }}", "42 49 7  2.0 0.5 -7.0", "42 49 7  2.0 0.5 0.0"),
        ("{{ t.upper() }} {{ t.startswith('foo') }} {{ t.endswith('x') }} {{ t.replace('o', '$0') }} {{ s.strip().lower() }}{{ t.lstrip('of') }}{{ t.rstrip() }}", "FOO BAR BAZ QUX True True f$0$0 bar baz qux hé llo\ti̇ß σας bar baz quxfoo bar baz qux", "    "),
        ("{% for tag in tags %}{{ loop.index }}/{{ loop.length }}{{ tag | upper }}{{ ',' if not loop.last }}{% else %}none{% endfor %}", "1/4A,2/4,3/4,4/4É", "none"),
        ("{% for x in tags if x %}{{ loop.revindex0 }}{{ x }}{% set x = x ~ '!' %}{{ x }}{% endfor %}{% set x %}<{{ n }}>{% endset %}{{ x }}", "1aa!0éé!<-7>", "<>"),
        ("{% for t in turns %}{{ t.role }}:{% for q in t.tags %}{{ loop.first }}{{ q }}{% endfor %};{% endfor %}{% for x in nums %}-{% endfor %}", "user:TrueqFalse;:;---", ""),
        ("{{ turns | map(attribute='role') | join('+') }} {{ tags | map('upper') | list | tojson }} {{ nums | map('default', 0) | join }} {{ tags | select | join }}", 'user+ ["A", "", "", "É"] 30-1 aé', " null  "),
        ("{{ turns | selectattr('role', 'eq', 'user') | map(attribute='score') | first }} {{ nums | reject('none') | join(',') }} {{ nums | select('gt', 0) | length }}", "1e-05 3,-1 1", "  0"),
        ("{{ s is string }} {{ n is number }} {{ f is integer }} {{ tags is iterable }} {{ b is true }} {{ deep is mapping }} {{ n is odd }} {{ m is even }} {{ n is in nums }}", "True True False True True True True True False", "False False False False False False False False False"),
        ("{{ {1: 'x', -7: n, none: 'null'}[n] }} {{ ['neg', 'pos'][m - 1] }} {{ {'x': 1}.get(t[-1], 'no') }} {{ {2: 'two', 2: 'zwei'}[m] }}", "-7 pos 1 zwei", "null  no "),
        ("{{ f | int }} {{ f | round | int }} {{ b | int }} {{ n | int(9) }}", "2 2 1 -7", "0 0 0 9"),
        ("{{ f | tojson }} {{ n | tojson }} {{ b | tojson }} {{ s | tojson }}", '2.5 -7 true "\u3000 Hé llo\\tİß Σας\\u001f "', "null null null null"),
        ("{{ deep | tojson }}", '{"a": "x", "items": 5, "inner": {"z": null, "words": ["u", "v"]}, "f": 0.5}', "null"),
        ("{{ turns | tojson }}", '[{"role": "user", "score": 1e-05, "tags": ["q", null]}, null]', "null"),
        ("{{ deep.items }} {{ deep['inner'].words[1] }}{{ deep.inner.z }}", "5 v", " "),
        ("{{ turns[0].role }}{{ turns[1].role }}", "user", ""),
        ("{{ turns | join('+', attribute='role') }}", "user+", ""),
        ("{{ tags | join(', ') }} {{ nums | join }} {{ pair | join(t[0]) }}", "a, , , é 3-1 1f2", "  "),
        ("{{ tags[-1] }}{{ tags[4] }}{{ tags[-5] }}{{ tags[n + 7] }}", "éa", ""),
        ("{{ t[0] }}{{ t[-1] }}{{ t[99] }}{{ t[-99] }}{{ t[m] }}", "fxo", ""),
        ("{{ t[4:7] }}|{{ t[-3:] }}|{{ t[:-4] }}|{{ t[-99:2] }}|{{ t[5:2] }}", "bar|qux|foo bar baz|fo|", "||||"),
        ("{{ tags[1:] | length }} {{ tags[:-1] | join('/') }} {{ tags[-2:-1] | length }}", "3 a// 1", "0  0"),
        ("{{ tags | first }}{{ tags | last }}{{ t | first }}{{ t | last }}", "aéfx", ""),
        ("{{ void }}{{ void.a[0] | default('gone') }}{{ none }}", "gone", "gone"),
        ("{{ s is defined }} {{ s is none }} {{ s is undefined }} {{ s == none }}", "True False False False", "False True True True"),
        ("{{ s == t }} {{ s != t }} {{ s == 'x' }} {{ s != 'x' }}", "False True False True", "True False False True"),
        ("{{ n < 3 }} {{ n >= 3 }} {{ -10 < n < m }} {{ f > 2 }} {{ big > n }}", "True False True True True", "False False False False False"),
        ("{{ b == 1 }} {{ b == true }} {{ f == 2.5 }}", "True True True", "False False False"),
        ("{{ 'bar' in t }} {{ s in t }} {{ '' in t }} {{ 'q' not in t }}", "True False True False", "False False False True"),
        ("{{ 'a' in tags }} {{ none in tags }} {{ 3 in nums }} {{ m in nums }}", "True True True False", "False False False False"),
        ("{{ kind in ['alpha', 'ßeta'] }} {{ n in (1, -7) }} {{ n in [none] }}", "True True False", "False False True"),
        ("{{ t or 'x' }} {{ n and b }} {{ not s }}", "foo bar baz qux True False", "x  True"),
        ("{{ n | default('none') }} {{ f > 9 and 'big' or 'small' }}", "-7 small", "none small"),
        ("{{ '' | default('a') }}{{ s | default('b', true) | trim | first }}", "H", "b"),
        ("{{ 'yes' if b }}{{ n if b else 'no' }}", "yes-7", "no"),
        ("{{ n ~ ':' ~ s[1] ~ none ~ b }}", "-7: True", ":"),
        ("{% if n > 0 %}up{% elif n < 0 %}down{% else %}flat{% endif %}", "down", "flat"),
        ("{% set t = t | upper %}{% if b %}{% set t = n %}{% endif %}{{ t }}", "-7", ""),
        ("{% if not b %}{% set x = 'set' %}{% set s = 'col' %}{% endif %}[{{ x }}{{ s | trim | first }}]", "[H]", "[setc]"),
    ],
)  # fmt: skip
def test_hand_cases(source: str, full: str, nothing: str) -> None:
    assert rendered(source, [FULL, NOTHING]) == [full, nothing]
    assert [render_reference(source, row) for row in ROWS] == rendered(source, ROWS)


@pytest.mark.parametrize(
    ("source", "empty"),
    [
        ("fixed", [False, False, False]),
        ("{{ s }}", [False, True, True]),
        ("{{ t | trim }}", [False, True, True]),
        ("{{ n }}", [False, True, False]),
        ("{{ s | default('x') }}", [False, False, True]),
        ("{{ s or 'x' }}", [False, False, False]),
        ("{{ s if s else '' }}", [False, False, False]),
        ("{{ 'to ' ~ s }}", [False, True, True]),
        ("{{ s is none }}{{ tags | length }}", [False, False, False]),
        ("{{ tags | tojson }}", [False, True, False]),
        ("{{ void }}", [True, True, True]),
        ("{% if b %}{{ void }}{% else %}-{% endif %}", [True, False, False]),
        ("{% set x = 'a' ~ s %}{% if s %}{{ x }}{% endif %}", [False, False, False]),
        ("{{ '' }}{{ '' if b else '' }}", [False, False, False]),
    ],
)
def test_empty_says_that_a_printed_field_was_missing_or_empty(source: str, empty: list[bool]) -> None:
    template = compile_template(source, SCHEMA)
    frame = pl.DataFrame(ROWS, schema=SCHEMA).with_columns(template.empty.alias("_"))
    assert frame["_"].to_list() == empty


def test_columns_and_constant() -> None:
    template = compile_template("{{ deep.a }}{% if n %}{{ row['My column'] }}{% endif %}", SCHEMA)
    assert template.columns == {"deep", "n", "My column"}
    assert not template.constant
    assert compile_template("{% set x = 1 %}{{ x }}", SCHEMA).constant


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("kind == 'ßeta' and not void", [True, False, False]),
        ("s and tags", [True, False, False]),
        ("n is none or b", [True, True, False]),
        ("tags", [True, False, False]),
        ("true", [True, True, True]),
        ("f < 3", [True, False, True]),
    ],
)
def test_conditions(source: str, holds: list[bool]) -> None:
    frame = pl.DataFrame(ROWS, schema=SCHEMA)
    assert frame.with_columns(compile_condition(source, SCHEMA).holds.alias("_"))["_"].to_list() == holds
    assert [render_reference(f"{{{{ 1 if {source} }}}}", row) == "1" for row in ROWS] == holds


def test_all_faults_are_told_at_once_with_their_places() -> None:
    error = faults("{{ tag }} {{ s + 1 }}\n{{ s | uper }}\n{% macro x() %}{% endmacro %}{{ deep.aa }}")
    told = [(fault.line, fault.column, fault.what) for fault in error.faults]
    assert told == [
        (1, 4, "there is no column 'tag'"),
        (1, None, "`+` does not take text here"),
        (2, 8, "there is no filter `uper`"),
        (3, None, "a {% macro %} lies outside the compiled core"),
        (3, 38, "there is no field 'aa'"),
    ]
    assert "did you mean `tags`?" in str(error.faults[0].fix)
    assert "My column" in str(error.faults[0].fix)
    assert "`~`" in str(error.faults[1].fix)
    assert "did you mean `upper`?" in str(error.faults[2].fix)
    assert not error.outside


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("{% macro m() %}{% endmacro %}", "{% macro %}"),
        ("{{ range(3) }}", "a call"),
        ("{{ s.split(',') }}", "`.split(..)`"),
        ("{{ s.strip(t) }}", "`.strip(..)`"),
        ("{{ dict.fromkeys('ab') }}", "a call"),
        ("{{ s | wordwrap }}", "`wordwrap`"),
        ("{{ s is callable }}", "is callable"),
        ("{% for tag in tags %}{{ n }}{% endfor %}", "reads `n` from outside"),
        ("{% for c in s %}{{ c }}{% endfor %}", "{% for %}"),
        (
            "{% for x in tags %}{% else %}{{ n }}{% endfor %}{% set n = m %}",
            "reads `n` before the template sets it",
        ),
        ("{% set s %}{{ s }}{% endset %}", "reads `s` before the template sets it"),
        ("{{ tags | map('center', 9) | join }}", "`center`"),
        ("{{ s * 2 }}", "`*` does not take text"),
        ("{{ s % n }}", "`%` does not take text"),
        ("{{ f // 2 }}", "`//` of floats"),
        ("{{ n == f }}", "compared exactly"),
        ("{{ [n] | join }}", "a list made in the template"),
        ("{{ s[::2] }}", "step"),
        ("{{ s | truncate(n) }}", "`length` depends on the row"),
        ("{% set a, b = 1, 2 %}", "several names"),
        ("{{ s" + " | truncate(9)" * 50 + " }}", "grows too large"),
        ("{% set s = s ~ s %}" * 50, "grows too large"),
        ("{{ s | tojson(indent=2) }}", "`tojson` with these arguments"),
    ],
)
def test_what_only_jinja_runs_is_marked_as_outside(source: str, what: str) -> None:
    error = faults(source)
    assert error.outside
    assert what in error.faults[0].what
    assert error.faults[0].fix


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("{{ s", "unexpected end"),
        ("{% if b %}", "Unexpected end"),
        ("{{ s + 1 }}", "`+` does not take text here"),
        ("{{ tags | abs }}", "`abs` does not take a list"),
        ("{{ tags }}", "a list cannot be printed"),
        ("{{ 'x' ~ deep }}", "a struct cannot be printed"),
        ("{{ n == 'x' }}", "cannot be compared"),
        ("{{ 1 in tags }}", "cannot look for an integer"),
        ("{{ day | tojson }}", "has no JSON form"),
        ("{{ 99999999999999999999 }}", "64 bits"),
        ("{{ " + "(" * 2000 + "s" + ")" * 2000 + " }}", "nested too deeply"),
        ("{{ s }}" * 2000, "more than 5000 words"),
        ("{{ t.upper }}", "text has no field 'upper'"),
        ("{{ t | replace('', 'x') }}", "non-empty"),
        ("{{ t | truncate(2) }}", "room for its ending"),
        ("{{ tags or 'none' }}", "cannot be printed alike"),
        ("{% include 'x' %}", "{% include %}"),
        ("{% import 'x' as y %}", "{% import %}"),
        ("{{ tags | random }}", "other data each time"),
        ("{% for tag in tag %}{% endfor %}", "there is no column 'tag'"),
        ("{% for turn in turns %}{{ turn.rule }}{% endfor %}", "there is no field 'rule'"),
        ("{% for word in deep.inner.words %}{{ word | uper }}{% endfor %}", "there is no filter `uper`"),
        ("{% for word in tags if word is strung %}{% endfor %}", "there is no test `strung`"),
    ],
)
def test_mistakes_are_not_outside(source: str, what: str) -> None:
    error = faults(source)
    assert not error.outside
    assert what in error.faults[-1].what
    assert error.faults[-1].fix


def test_a_fault_is_told_once_however_often_its_value_is_read() -> None:
    assert (
        len(faults("{% set x = gone | trim %}{{ x }}{{ x ~ x }}{% if x %}{{ x | upper }}{% endif %}").faults)
        == 1
    )


def test_a_refused_type_is_a_fault_only_where_it_is_read() -> None:
    schema = {"price": pl.Decimal(10, 2), "when": pl.Datetime("us", "UTC"), "s": pl.String}
    assert compile_template("{{ s }}", schema).columns == {"s"}
    for name in ("price", "when"):
        with pytest.raises(TemplateFault, match="cannot read a value of type"):
            compile_template(f"{{{{ {name} }}}}", schema)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{% for turn in turns %}{{ loop.cycle(1, 2) }}{{ turn.role }};{% endfor %}", "1user;2;"),
        (
            "{% for key, value in deep.inner.items() %}{{ key }}={{ value | tojson }};{% endfor %}",
            'z=null;words=["u", "v"];',
        ),
        (
            "{{ void == dict().get('a') }} {{ dict().get('a') }} {{ dict().get('a') is defined }}",
            "True  False",
        ),
        ("{{ [1, none] | tojson }} {{ 2 | round }}", "[1, null] 2"),
    ],
)
def test_the_reference_keeps_our_rules_outside_the_core(source: str, text: str) -> None:
    assert faults(source).faults
    assert render_reference(source, FULL) == text


EVERY_CHARACTER = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]


@pytest.mark.parametrize("name", ["lower", "upper", "capitalize", "trim", "tojson"])
def test_filters_equal_python_on_the_whole_of_unicode(name: str) -> None:
    schema = {"c": pl.String}
    found = rendered(f"{{{{ c | {name} }}}}", [{"c": c} for c in EVERY_CHARACTER], schema)
    python = {"trim": str.strip, "tojson": lambda c: json.dumps(c, ensure_ascii=False)}.get(name)
    expected = [python(c) if python else getattr(c, name)() for c in EVERY_CHARACTER]
    wrong = [(c, a, b) for c, a, b in zip(EVERY_CHARACTER, found, expected, strict=True) if a != b]
    # Polars may know case pairs that came after Python's Unicode; then Python leaves the character as it is.
    for character, polars, ours in wrong:
        assert ours == character
        assert unicodedata.category(character) == "Cn" or unicodedata.category(polars) == "Cn"
    assert len(wrong) < 100


def test_json_floats_equal_python() -> None:
    floats = [
        s * m * 10.0**e
        for s in (1, -1)
        for m in (1, 1.5, 3.3333333333333335, 9.999999999999999)
        for e in range(-320, 309)
    ]
    rows = [{"f": f} for f in [*floats, 0.0, -0.0, float("inf"), float("-inf"), float("nan"), 5e-324]]
    assert rendered("{{ f | tojson }}", rows, {"f": pl.Float64}) == [json.dumps(row["f"]) for row in rows]


def test_nan_compares_like_python() -> None:
    source = "{{ f == f }}{{ f < 1 }}{{ f >= 1 }}{{ f != 1 }}{{ 1 > f }}{{ 'true' if f }}{{ f | int(3) }}"
    rows = [{"f": float("nan")}, {"f": float("inf")}, {"f": 1e300}]
    assert rendered(source, rows, {"f": pl.Float64}) == [render_reference(source, row) for row in rows]


@settings(
    max_examples=int(os.environ.get("AXO_PROVE", "200")),
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)
@given(
    source=templates(),
    rows=st.lists(ROW, min_size=1, max_size=5),
    engine=st.sampled_from(["in-memory", "streaming"]),
)
@example("{% if b %}{{ s | replace('a', s) }}{% endif %}", [NOTHING], "streaming")
@example("{{ 'bab' | replace('a', s) if b }}", [NOTHING, NOTHING], "streaming")
@example("{{ t | replace('o', s) }}", ROWS, "in-memory")
def test_random_templates_equal_real_jinja(source: str, rows: list[dict[str, Any]], engine: str) -> None:
    # A row through Polars is what a reader would give: 32-bit floats rounded, and so on.
    rows = pl.DataFrame([*rows, NOTHING], schema=SCHEMA).to_dicts()
    try:
        found = rendered(source, rows, engine=engine)
    except TemplateFault as error:
        # The writer does not know what it has set by then.
        if not all("before the template sets it" in fault.what for fault in error.faults):
            raise
        reject()
    assert found == [render_reference(source, row) for row in rows]
