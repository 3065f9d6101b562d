"""Submissions made to cost a service much more than they cost to send, by what they try."""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise


def _spec(text: str) -> bytes:
    return json.dumps({"spec": text}).encode()


def _template(text: str) -> bytes:
    return _spec(
        "name: t\nbase_model: org/b\ndataset: {source: t.jsonl}\nmapping:\n  messages:\n"
        f'    - {{role: user, content: "{text}"}}\n    - {{role: assistant, content: x}}\n'
    )


def _named(mapping: str) -> bytes:
    entries = "".join("\n    - {source: a.csv, mapping: m}" for _ in range(900))
    text = f"name: t\nbase_model: org/b\nmapping: {{text: x}}\ndataset:\n  source:{entries}\n"
    return json.dumps({"spec": text, "mappings": {"m": mapping}}).encode()


def _aliases() -> str:
    names = "abcdefghij"
    lines = ["a: &a [x,x,x,x,x,x,x,x,x]"]
    lines += [f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]" for before, name in pairwise(names)]
    return "\n".join(lines)


SUBMISSIONS: Mapping[str, bytes] = {
    "deep json": b"[" * 200_000,
    "deep json in a field": b'{"spec":"x","mappings":' + b'{"a":' * 70_000 + b"1" + b"}" * 70_001,
    "a body of 50 MB": b'{"spec":"' + b"a" * 50_000_000 + b'"}',
    "many unknown keys": json.dumps({"spec": "x", **{f"k{n}": 1 for n in range(30_000)}}).encode(),
    "many unknown mappings": json.dumps(
        {"spec": "x", "mappings": {f"k{n}": 1 for n in range(30_000)}}
    ).encode(),
    "a mapping of 400 kB": json.dumps({"spec": "x", "mappings": {"m": "a" * 400_000}}).encode(),
    "yaml aliases": _spec(_aliases()),
    "yaml merge keys": _spec("a: &a {x: 1}\n" + "".join(f"b{n}: {{<<: *a}}\n" for n in range(5_000))),
    "deep yaml": _spec("a: " + "[" * 100_000),
    "deep yaml by indent": _spec("\n".join(" " * n + "a:" for n in range(450))),
    "many yaml keys": _spec("\n".join(f"k{n}: 1" for n in range(12_000))),
    "a long yaml list": _spec("x: [" + "1," * 60_000 + "]"),
    "a long number": _spec("name: " + "9" * 125_000),
    "a name for slow patterns": _spec("name: " + "a-" * 60_000 + "!"),
    "half a secret many times": _spec("name: " + "sk-" * 40_000),
    "many escapes": _spec('name: "' + "\\\\x41" * 20_000 + '"'),
    "a comment of 125 kB": _spec("#" * 125_000),
    "deep parentheses": _template("{{ " + "(" * 45_000 + "1" + ")" * 45_000 + " }}"),
    "deep blocks": _template("{% if a %}" * 4_000 + "{% endif %}" * 4_000),
    "a sum that never ends": _template("{{ " + "+".join(["a"] * 45_000) + " +}}"),
    "filters that never end": _template("{{ a" + "|upper" * 15_000 + " |}}"),
    "many open braces": _template("{{ " * 33_000),
    "a character that is none": _spec("name: \0"),
    "a long mapping in many places": _named("messages:\n" + "  - {role: user, content: x}\n" * 900),
    "a broken mapping in many places": _named("[" + "*x, " * 100 + "]"),
    "no mapping in many places": _named("x").replace(b'"m":', b'"n":'),
    "half a surrogate": b'{"spec":"\\ud800"}',
}
