"""Which keys a spec may pass through to Axolotl, and what to say of the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from orchestrator.errors import Fault
from orchestrator.nearest import nearest
from orchestrator.spec.faults import shown
from orchestrator.spec.names import AXOLOTL_NAMES
from orchestrator.spec.yaml import read_yaml

Kind = Literal["free", "bounded", "owned", "admin", "forbidden"]

_FILE = Path(__file__).parent / "keys.yaml"
_REFUSALS: Mapping[str, str] = {
    "owned": "the service sets this key itself",
    "admin": "this key belongs to the operator",
    "forbidden": "this key is not allowed",
}


@dataclass(frozen=True)
class Rule:
    """What holds for one key of Axolotl's config; `reason` says why it is not free to set."""

    key: str
    kind: Kind
    reason: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Any, ...] = ()

    @property
    def field(self) -> str | None:
        """The field of the spec that stands for the key."""
        return AXOLOTL_NAMES.get(self.key)

    @property
    def bounds(self) -> str:
        """The values of a bounded key in words; empty for the others."""
        if self.choices:
            return f"one of {', '.join(map(shown, self.choices))}"
        if self.minimum is None or self.maximum is None:
            return ""
        return f"a number from {self.minimum:.10g} to {self.maximum:.10g}"


@cache
def key_rules() -> Mapping[str, Rule]:
    """The rule of every key of Axolotl's config (keys.yaml)."""
    return {rule.key: rule for rule in listed_rules()}


def listed_rules() -> list[Rule]:
    """The rules in the order of keys.yaml, a key that is there twice included twice."""
    listed = read_yaml(_FILE.read_bytes(), _FILE.name).value
    rules = [Rule(key, "free") for key in listed["free"]]
    for key, bounds in listed["bounded"].items():
        choices = tuple(bounds.get("choices", ()))
        rules.append(Rule(key, "bounded", None, bounds.get("min"), bounds.get("max"), choices))
    kinds: Iterable[Kind] = ("owned", "admin", "forbidden")
    for kind in kinds:
        rules += [Rule(key, kind, group["reason"]) for group in listed[kind] for key in group["keys"]]
    return rules


def pass_through_faults(keys: Mapping[str, Any]) -> list[Fault]:
    """What is wrong with the section `axolotl` of a spec, as far as keys and bounds go."""
    return [fault for key, value in keys.items() if (fault := _fault(key, value))]


def _fault(key: str, value: Any) -> Fault | None:
    path, rule = f"axolotl.{key}", key_rules().get(key)
    if rule is None:
        return Fault("Axolotl has no such key", _unknown_fix(key), "Axolotl ignores unknown keys", path=path)
    if rule.kind in _REFUSALS:
        fix = f"set {rule.field} in the spec instead" if rule.field else "remove it"
        return Fault(_REFUSALS[rule.kind], fix, rule.reason, path=path)
    if value is None:
        return Fault("has no value", "give it one, or remove the key", path=path)
    if broken := _broken_bound(rule, value):
        return Fault(broken, path=path, value=shown(value))
    return None


def _unknown_fix(key: str) -> str:
    near = nearest(key, key_rules())
    if near is None:
        return "remove it"
    field = key_rules()[near].field
    return f"did you mean `{near}`, in the spec {field}?" if field else f"did you mean `{near}`?"


def _broken_bound(rule: Rule, value: Any) -> str | None:
    if rule.choices:
        # True == 1 in Python, but not in a config.
        same = any(value == choice and type(value) is type(choice) for choice in rule.choices)
        return None if same else f"must be {' or '.join(map(shown, rule.choices))}"
    if rule.minimum is None or rule.maximum is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool)
    inside = number and rule.minimum <= value <= rule.maximum
    return None if inside else f"must be {rule.bounds}"
