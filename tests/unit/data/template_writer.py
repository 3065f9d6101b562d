# ruff: noqa: E501 - grammars read best with one case to a line
"""Random rows of one wide schema, and random templates for it, inside the compiled core and outside."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import strategies as st

INNER = pl.Struct({"z": pl.String, "words": pl.List(pl.String)})
SCHEMA: dict[str, pl.DataType | type[pl.DataType]] = {
    "s": pl.String,
    "t": pl.String,
    "My column": pl.String,
    "kind": pl.Enum(["alpha", "ßeta"]),
    "n": pl.Int64,
    "m": pl.Int8,
    "big": pl.UInt64,
    "f": pl.Float64,
    "b": pl.Boolean,
    "tags": pl.List(pl.String),
    "nums": pl.List(pl.Int32),
    "pair": pl.Array(pl.Int64, 2),
    "deep": pl.Struct({"a": pl.String, "items": pl.Int64, "inner": INNER, "f": pl.Float32}),
    "turns": pl.List(pl.Struct({"role": pl.String, "score": pl.Float64, "tags": pl.List(pl.String)})),
    "day": pl.Date,
    "at": pl.Datetime("us"),
    "void": pl.Null,
}
NOTHING: dict[str, Any] = dict.fromkeys(SCHEMA)

NASTY = ["a", "b", "B", " ", "\t", "\n", "\r", "\x00", "\x1f", "\x85", "\xa0", "\u2028", "\u3000", "\u200b", "ß", "İ", "ı", "Σ",
         "ς", "é", "e\u0301", "ﬁ", "ǆ", "𝔘", "👩\u200d🚀", '"', "\\", "/", "<", "&", "'", "$1", "{{", "%", "0", "-", "12", ".", "e3", "_", "("]  # fmt: skip
TEXT = st.lists(st.sampled_from(NASTY), max_size=9).map("".join)
INTEGERS = st.one_of(st.integers(-5, 5), st.sampled_from([2**63 - 1, -(2**63), 2**53 + 1, -1000]))
FLOATS = st.one_of(st.sampled_from([0.0, -0.0, 0.5, 2.5, 1e-7, 1e22]), st.floats())
MAYBE = st.none()
INNER_ROW = st.fixed_dictionaries({"z": MAYBE | TEXT, "words": MAYBE | st.lists(MAYBE | TEXT, max_size=3)})
ROW = st.fixed_dictionaries(
    {
        "s": MAYBE | TEXT,
        "t": MAYBE | TEXT,
        "My column": MAYBE | TEXT,
        "kind": MAYBE | st.sampled_from(["alpha", "ßeta"]),
        "n": MAYBE | INTEGERS,
        "m": MAYBE | st.integers(-128, 127),
        "big": MAYBE | st.sampled_from([0, 1, 2**64 - 1]),
        "f": MAYBE | FLOATS,
        "b": MAYBE | st.booleans(),
        "tags": MAYBE | st.lists(MAYBE | TEXT, max_size=4),
        "nums": MAYBE | st.lists(MAYBE | st.integers(-3, 3), max_size=4),
        "pair": MAYBE | st.lists(MAYBE | INTEGERS, min_size=2, max_size=2),
        "deep": MAYBE
        | st.fixed_dictionaries(
            {
                "a": MAYBE | TEXT,
                "items": MAYBE | INTEGERS,
                "inner": MAYBE | INNER_ROW,
                "f": MAYBE | st.floats(width=32),
            }
        ),
        "turns": MAYBE
        | st.lists(
            MAYBE
            | st.fixed_dictionaries(
                {
                    "role": MAYBE | TEXT,
                    "score": MAYBE | FLOATS,
                    "tags": MAYBE | st.lists(MAYBE | TEXT, max_size=2),
                }
            ),
            max_size=3,
        ),
        "day": MAYBE | st.dates(),
        "at": MAYBE | st.datetimes(),
        "void": MAYBE,
    }
)
TEXT_FIELDS = [
    "s",
    "t",
    "row['My column']",
    "kind",
    "deep.a",
    "deep['inner']['z']",
    "turns[0].role",
    "turns[-1]['role']",
    "void",
]
INTEGER_FIELDS = ["n", "m", "deep.items", "nums[1]", "pair[0]", "row.n"]
LITERALS = ["''", "'a'", "' '", "'ß\\n'", '"b"', "'Σ'"]


class Writer:
    """Writes random templates of the core, each expression by the kind of value it has."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw

    def one(self, *choices: Any) -> str:
        choice = self.draw(st.sampled_from(choices))
        return choice() if callable(choice) else choice

    def number(self, low: int = -4, high: int = 6) -> str:
        return str(self.draw(st.integers(low, high)))

    def text(self, depth: int) -> str:
        if depth <= 0:
            return self.one(*TEXT_FIELDS, *LITERALS)
        deeper = depth - 1
        return "(" + self.one(
            *TEXT_FIELDS,
            lambda: f"{self.any(deeper)} | {self.one('trim', 'lower', 'upper', 'string', 'capitalize')}",
            lambda: f"{self.any(deeper)} | {self.one('title', 'indent', 'indent(2, true, true)')}",
            lambda: f"{self.text(deeper)} + {self.text(deeper)}",
            lambda: f"({self.text(deeper)}).{self.one('strip', 'lstrip', 'rstrip')}({self.one('', *LITERALS[1:])})",
            lambda: f"({self.text(deeper)})." + self.one("upper()", "lower()", "replace('a', '$0')"),
            lambda: f"{self.text(deeper)} | trim({self.one(*LITERALS)})",
            lambda: f"{self.any(deeper)} | replace({self.one(*LITERALS[1:])}, {self.text(deeper)})",
            lambda: f"{self.text(deeper)} | replace('a', '$0', {self.number()})",
            lambda: f"{self.text(deeper)} | truncate({self.number(1, 5)}, {self.one('true', 'false')}, '.', {self.number(0, 2)})",
            lambda: f"{self.text(deeper)} | {self.one('first', 'last')}",
            lambda: f"{self.texts(deeper)} | {self.one('first', 'last')}",
            lambda: f"{self.one(*TEXT_FIELDS)}[{self.number()}:{self.number()}]",
            lambda: f"{self.text(deeper)}[{self.one('', lambda: self.number())}:]",
            lambda: f"{self.text(deeper)}[{self.integer(0)}]",
            lambda: f"{self.texts(deeper)}[{self.integer(0)}]",
            lambda: f"{self.list(deeper)} | join({self.text(0)})",
            "turns | join('|', attribute='role')",
            lambda: f"turns | map(attribute='role') | {self.kept()} | join({self.text(0)})",
            lambda: f"tags | {self.kept()} | map('{self.one('upper', 'trim', 'title', 'tojson')}') | {self.one('join', 'tojson', 'first')}",
            "tags | map('default', 'a', true) | list | join",
            lambda: f"turns | selectattr('role', {self.tested()}) | " + self.one("tojson", "map(attribute='score') | join"),
            lambda: f"{{{self.text(0)}: {self.text(0)}, 'a': {self.text(deeper)}}}[{self.text(deeper)}]",
            lambda: f"{{'a': 'A', 'b': kind}}.get({self.text(deeper)}, {self.text(0)})",
            lambda: f"[{self.text(0)}, {self.text(0)}][{self.integer(0)}]",
            lambda: f"{self.any(deeper)} ~ {self.any(deeper)}",
            lambda: f"{self.one('deep', 'turns', 'f', 'deep.f', 'tags', 'b', 'n', lambda: self.text(deeper))} | tojson",
            lambda: self.choice(self.text, deeper),
        ) + ")"  # fmt: skip

    def integer(self, depth: int) -> str:
        if depth <= 0:
            return self.one(*INTEGER_FIELDS, self.number)
        deeper = depth - 1
        return "(" + self.one(
            *INTEGER_FIELDS,
            lambda: f"{self.integer(deeper)} {self.one('+', '-', '*', '//', '%')} {self.integer(deeper)}",
            lambda: f"-{self.integer(deeper)}",
            lambda: f"{self.one(lambda: self.text(deeper), lambda: self.list(deeper))} | {self.one('length', 'count')}",
            lambda: f"{self.one(lambda: self.float(deeper), lambda: self.text(deeper), 'b')} | int({self.number()})",
            lambda: f"{self.any(deeper)} | wordcount",
            lambda: f"{self.integer(deeper)} | abs",
            lambda: f"nums | {self.one('first', 'last')}",
            lambda: self.choice(self.integer, deeper),
        ) + ")"  # fmt: skip

    def float(self, depth: int) -> str:
        if depth <= 0:
            return self.one("f", "deep.f", "turns[0].score", "0.5", "-1e300")
        deeper = depth - 1
        return "(" + self.one(
            "f",
            lambda: f"{self.float(deeper)} {self.one('+', '-', '*', '/')} {self.one(lambda: self.float(deeper), lambda: self.integer(deeper))}",
            lambda: f"{self.integer(deeper)} / {self.integer(deeper)}",
            lambda: f"{self.one(lambda: self.text(deeper), lambda: self.integer(deeper), 'b')} | float{self.one('', '(2)', '(0.5)')}",
            lambda: f"{self.float(deeper)} | {self.one('abs', 'round')}",
            lambda: f"-{self.float(deeper)}",
            lambda: self.choice(self.float, deeper),
        ) + ")"  # fmt: skip

    def choice(self, kind: Any, depth: int) -> str:
        return self.one(
            lambda: f"{kind(depth)} if {self.truth(depth)} else {kind(depth)}",
            lambda: f"{kind(depth)} if {self.truth(depth)}",
            lambda: f"{kind(depth)} {self.one('or', 'and')} {kind(depth)}",
            lambda: f"{kind(depth)} | default({kind(depth)}{self.one('', ', true', ', false')})",
        )

    def texts(self, depth: int) -> str:
        return self.one(
            "tags", "deep.inner.words", "turns[0].tags", lambda: f"tags[{self.number()}:{self.number()}]"
        )

    def list(self, depth: int) -> str:
        return self.one("nums", "pair", "nums[1:]", "tags[:-1]", lambda: self.texts(depth))

    def any(self, depth: int) -> str:
        return self.one(
            lambda: self.text(depth),
            lambda: self.integer(depth),
            lambda: self.float(depth),
            "big",
            "b",
            "day",
            "at",
            lambda: f"(not {self.truth(depth)})",
            lambda: f"({{{self.integer(0)}: {self.text(0)}, 1: {self.float(0)}}}[{self.integer(0)}])",
            lambda: f"({self.integer(0)} if {self.truth(0)} else {self.text(0)})",
            lambda: f"({self.integer(0)} | default({self.text(0)}))",
            lambda: f"({self.text(0)} or {self.integer(0)} or b)",
        )

    def truth(self, depth: int) -> str:
        if depth <= 0:
            return self.one("b", "s", "n", "f", "tags", "deep", "day", "void", "true", "turns[0]")
        deeper = depth - 1
        return "(" + self.one(
            "b",
            lambda: f"{self.text(deeper)} {self.one('==', '!=')} {self.one('none', lambda: self.text(deeper))}",
            lambda: f"{self.integer(deeper)} {self.order()} {self.integer(deeper)}",
            lambda: f"{self.integer(deeper)} {self.order()} {self.integer(0)} {self.order()} {self.integer(0)}",
            lambda: f"{self.one('f', 'deep.f', 'big', 'm')} {self.order()} {self.one('1', '0.5', '0', '-3')}",
            lambda: f"{self.float(deeper)} {self.order()} {self.one(lambda: self.float(deeper), 'b')}",
            lambda: f"{self.text(deeper)} {self.order()} {self.text(deeper)}",
            lambda: f"({self.text(deeper)}).{self.one('startswith', 'endswith')}({self.one(*LITERALS)})",
            lambda: f"day {self.order()} day",
            lambda: f"b {self.order()} {self.one('b', '1', 'm')}",
            lambda: f"{self.text(deeper)} {self.membership()} {self.one(lambda: self.text(deeper), lambda: self.texts(deeper))}",
            lambda: f"{self.text(deeper)} {self.membership()} [{self.text(0)}, 'a', none]",
            lambda: f"kind {self.membership()} ('alpha', 'x')",
            lambda: f"{self.integer(deeper)} {self.membership()} {self.one('nums', 'pair', '[1, -2, n]', '(3,)', '[]')}",
            lambda: f"{self.any(deeper)} is {self.one('', 'not ')}{self.one('defined', 'undefined', 'none')}",
            lambda: f"not {self.truth(deeper)}",
            lambda: f"{self.one('s', 'n', 'f', 'b', 'deep', 'tags', 'day', 'void')} is {self.one('', 'not ')}{self.one('string', 'number', 'integer', 'float', 'boolean', 'mapping', 'iterable', 'true', 'false')}",
            lambda: f"{self.integer(deeper)} is {self.one('odd', 'even')}",
            lambda: f"{self.text(deeper)} is eq({self.text(0)})",
            lambda: f"{self.truth(deeper)} {self.one('and', 'or')} {self.one(lambda: self.truth(deeper), lambda: self.text(deeper))}",
        ) + ")"  # fmt: skip

    def kept(self) -> str:
        return self.one("select", "reject", lambda: f"{self.one('select', 'reject')}({self.tested()})")

    def tested(self) -> str:
        return self.one("'none'", "'string'", "'eq', 'a'", "'ne', ''", "'lt', 'b'", "'defined'")

    def order(self) -> str:
        return self.one("<", "<=", ">", ">=", "==", "!=")

    def membership(self) -> str:
        return self.one("in", "not in")

    def looped(self) -> str:
        """A body that reads its element `s` and nothing else of the row."""
        return self.one(
            "x",
            "{{ s }}",
            "{{ s | title }}{{ loop.index0 }}",
            "{% if loop.first %}{{ s ~ '!' }}{% elif s %}{{ loop.revindex }}{% endif %}",
            "{% set s = s | trim %}{{ s | length }}{{ ', ' if not loop.last }}",
            "{% set n = loop.length %}{{ n + 1 }}{{ s == 'a' }}",
        )

    def body(self, depth: int) -> str:
        return "".join(self.statement(depth) for _ in range(self.draw(st.integers(1, 3))))

    def statement(self, depth: int) -> str:
        deeper = depth - 1
        close, reopen = self.one("%}", "-%}"), self.one("{%", "{%-")
        return self.one(
            lambda: self.one(" ", "text\n", "\r\n", "é }", "{# gone #}", " \n "),
            lambda: f"{self.one('{{', '{{-')} {self.any(depth)} {self.one('}}', '-}}')}",
            lambda: f"{{{{ {self.text(depth)} }}}}",
            lambda: f"{{% set s = {self.text(deeper)} {close}{{{{ s }}}}",
            lambda: f"{{% set x %}}{self.body(deeper)}{reopen} endset %}}{{{{ x }}}}" if depth > 0 else "x",
            lambda: f"{{% for s in {self.texts(0)}{self.one('', ' if s', ' if s is ne(0 | string)')} {close}{self.looped()}{reopen} endfor %}}",
            lambda: f"{{% for turn in turns %}}{{{{ turn.role | upper }}}}{{% for s in turn.tags %}}{self.looped()}{{% endfor %}}{{{{ loop.index }}}}{{% else %}}{self.body(deeper)}{{% endfor %}}" if depth > 0 else "w",
            lambda: f"{{% set n = {self.integer(deeper)} {close}{{{{ n }}}}",
            lambda: f"{{% if {self.truth(deeper)} {close}{self.body(deeper)}{reopen} endif %}}" if depth > 0 else "z",
            lambda: f"{{% if {self.truth(deeper)} %}}{self.body(deeper)}{reopen} elif {self.truth(deeper)} %}}"
            f"{self.body(deeper)}{{% else {close}{self.body(deeper)}{{% endif %}}" if depth > 0 else "y",
        )  # fmt: skip


@st.composite
def templates(draw: Any) -> str:
    return Writer(draw).body(draw(st.integers(1, 3)))


class OutsideWriter(Writer):
    """Writes templates that only Jinja runs: loops, macros, blocks and filters that the core does not have."""

    def statement(self, depth: int) -> str:
        deeper = depth - 1
        return self.one(
            lambda: super(OutsideWriter, self).statement(depth),
            lambda: f"{{% for s in {self.texts(0)} %}}{{{{ loop.index }}}}{self.body(deeper)}{{% endfor %}}",
            lambda: f"{{% for n in nums if n is not none %}}{{{{ n ** 2 }}}}{self.body(deeper)}{{% else %}}-{{% endfor %}}",
            lambda: "{% for turn in turns %}{{ turn.role }}:{{ turn.tags | join(' ') }}{{ turn.score }};{% endfor %}",
            lambda: f"{{% set x %}}{self.body(deeper)}{{% endset %}}{{{{ x | length }}}}" if depth > 0 else "x",
            lambda: f"{{% macro m(s) %}}{self.body(deeper)}{{% endmacro %}}{{{{ m({self.text(0)}) }}}}" if depth > 0 else "m",
            lambda: f"{{{{ {self.texts(0)} | {self.one('sort', 'unique', 'reverse')} | join }}}}",
            lambda: f"{{{{ {self.text(0)} | {self.one('wordwrap(3)', 'center(9)', 'urlencode', 'reverse')} }}}}",
            lambda: f"{{{{ '%s' | format({self.any(0)}) }}}}{{{{ {self.float(0)} | round({self.number(0, 3)}) }}}}",
            lambda: "{% set ns = namespace(n=0) %}{% for x in nums %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
            lambda: "{{ turns | map(attribute='role') | select | join(',') }}{{ day.year }}{{ at.isoformat() }}",
            lambda: f"{{{{ {{'a': 1, 'b': {self.text(0)}}}[{self.text(0)}] }}}}{{{{ [{self.any(0)}] | length }}}}",
        )  # fmt: skip


@st.composite
def outside_templates(draw: Any) -> str:
    return OutsideWriter(draw).body(draw(st.integers(1, 2)))
