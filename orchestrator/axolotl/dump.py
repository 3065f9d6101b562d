"""Write YAML that every reader understands alike, whether it follows YAML 1.1 or 1.2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

# Quoted beyond doubt unless it is a word, a path or the like, and no reader's word for something else.
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_NOT_TEXT = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan", "inf"])


def dump_yaml(data: Mapping[str, Any]) -> str:
    """Plain data as YAML in the order it has; the same data gives the same text."""
    return yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, default_flow_style=False, allow_unicode=False, width=10**9
    )


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, without aliases and with strict quoting."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: _Dumper, value: str) -> yaml.ScalarNode:
    plain = _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


def _number(dumper: _Dumper, value: float) -> yaml.ScalarNode:
    """A float with a dot and a signed exponent: without the dot, YAML 1.1 reads 1e-05 as text."""
    digits, letter, exponent = repr(value).partition("e")
    text = (digits if "." in digits else f"{digits}.0") + letter + exponent
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _number)
