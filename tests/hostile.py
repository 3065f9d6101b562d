"""Requests made to cost a service much more than they cost to send, by what they try."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import httpx

_SHA256 = "a" * 64


@dataclass(frozen=True)
class Bomb:
    """A request of the API: its method, its path below `/api/v1`, and its body, sent in pieces with no word
    of its length where it is `chunked`."""

    body: bytes
    method: str = "POST"
    path: str = "/runs"
    kind: str = "application/json"
    chunked: bool = False

    def send(self, url: str) -> httpx.Response:
        """Send it to the service at a URL."""
        return httpx.request(
            self.method,
            f"{url}/api/v1{self.path}",
            content=self._pieces() if self.chunked else self.body,
            headers={"Content-Type": self.kind},
            timeout=60,
        )

    def _pieces(self) -> Iterator[bytes]:
        for start in range(0, len(self.body), 1 << 16):
            yield self.body[start : start + (1 << 16)]


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


_SUBMISSIONS: Mapping[str, bytes] = {
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


def _mapping(text: str) -> Bomb:
    return Bomb(json.dumps({"text": text}).encode(), "PUT", "/mappings/bomb")


def _templates(text: str) -> Bomb:
    """A mapping all of whose messages have a template."""
    return _mapping("messages:\n" + f'  - {{role: user, content: "{text}"}}\n' * 2_500)


def _part(body: bytes, *, chunked: bool = False) -> Bomb:
    return Bomb(body, "PUT", f"/files/{_SHA256}/parts/0", "application/octet-stream", chunked)


BOMBS: Mapping[str, Bomb] = {
    **{name: Bomb(body) for name, body in _SUBMISSIONS.items()},
    "mapping: yaml aliases": _mapping(_aliases()),
    "mapping: deep yaml": _mapping("a: " + "[" * 100_000),
    "mapping: many keys": _mapping("\n".join(f"k{n}: 1" for n in range(12_000))),
    "mapping: many poor messages": _mapping("messages:\n" + "  - {role: x}\n" * 8_000),
    "mapping: deep parentheses": _mapping('text: "{{ ' + "(" * 45_000 + "1" + ")" * 45_000 + ' }}"'),
    "mapping: filters that never end": _mapping('text: "{{ a' + "|upper" * 15_000 + ' |}}"'),
    "mapping: many broken templates": _templates("{{ a | }}"),
    "mapping: slow pattern for a name": Bomb(b"{}", "PUT", "/mappings/" + "a-" * 30_000 + "!"),
    "mapping: deep json": Bomb(b'{"text":' + b"[" * 200_000, "PUT", "/mappings/bomb"),
    "mapping: a body of 50 MB": Bomb(b'{"text":"' + b"a" * 50_000_000 + b'"}', "PUT", "/mappings/bomb"),
    "plan: yaml aliases": Bomb(_spec(_aliases()), path="/plans"),
    "file: 10^300 bytes": Bomb(json.dumps({"sha256": _SHA256, "size": 10**300}).encode(), path="/files"),
    "part: nobody announced it": _part(b"x" * (4 << 20)),
    "part: 50 MB": _part(b"x" * 50_000_000),
    "part: 50 MB in pieces": _part(b"x" * 50_000_000, chunked=True),
    "submission: 50 MB in pieces": Bomb(b'{"spec":"' + b"a" * 50_000_000, chunked=True),
}
