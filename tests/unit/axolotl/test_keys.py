"""Every key of Axolotl's config has exactly one class."""

from __future__ import annotations

from collections import Counter

import pytest

from orchestrator.axolotl.keys import Rule, key_rules, listed_rules, pass_through_faults
from orchestrator.axolotl.schema import axolotl_schema, problems
from orchestrator.spec.load import spec_schema
from orchestrator.spec.names import AXOLOTL_NAMES

KNOWN = set(axolotl_schema()["properties"])


def test_every_key_is_classed_once_and_no_other() -> None:
    counts = Counter(rule.key for rule in listed_rules())
    assert [key for key, count in counts.items() if count > 1] == []
    assert set(counts) ^ KNOWN == set()


def test_the_vendored_schema_is_whole() -> None:
    """`axolotl config-schema` of 0.19.0 falls back to a simplified one, which says so in a note."""
    assert "_note" not in axolotl_schema()
    assert len(KNOWN) == 390
    assert set(axolotl_schema()["required"]) == {"base_model", "learning_rate"}


def test_what_is_not_free_says_why_or_how_far() -> None:
    for rule in key_rules().values():
        bounds = rule.choices or (rule.minimum is not None and rule.maximum is not None)
        assert bool(bounds) == (rule.kind == "bounded"), rule.key
        assert bool(rule.reason) == (rule.kind in ("owned", "admin", "forbidden")), rule.key


@pytest.mark.parametrize(
    "rule", [rule for rule in listed_rules() if rule.kind == "bounded"], ids=lambda rule: rule.key
)
def test_what_a_bound_allows_is_what_axolotl_takes(rule: Rule) -> None:
    allowed = [*rule.choices, *(value for value in (rule.minimum, rule.maximum) if value is not None)]
    for value in allowed:
        config = {"base_model": "model", "learning_rate": 1e-4, rule.key: value}
        assert problems(config) == []
        assert pass_through_faults({rule.key: value}) == []


def test_keys_that_run_code_or_reach_out_are_forbidden() -> None:
    dangerous = (
        "plugins trust_remote_code trainer_cls hub_model_id push_dataset_to_hub chat_template_jinja trl"
    )
    partial = "fix_untrained_tokens loss_watchdog_threshold relora auto_find_batch_size"
    assert {key_rules()[key].kind for key in f"{dangerous} {partial}".split()} == {"forbidden"}


def test_the_names_for_advice_exist_on_both_sides() -> None:
    assert set(AXOLOTL_NAMES) <= KNOWN
    assert all(key_rules()[key].kind == "owned" for key in AXOLOTL_NAMES)
    schema = spec_schema()
    for path in AXOLOTL_NAMES.values():
        place = schema
        for name in path.split("."):
            place = _resolved(schema, place)["properties"][name]


def _resolved(schema: dict, place: dict) -> dict:  # type: ignore[type-arg]
    choices = [place, *place.get("anyOf", [])]
    references = [choice["$ref"] for choice in choices if "$ref" in choice]
    return schema["$defs"][references[0].rpartition("/")[2]] if references else place
