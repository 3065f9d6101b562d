"""Every key of Axolotl and every field of a spec is explained, and every value of a config has an origin."""

from __future__ import annotations

import pytest
from rendered import EXTRAS, MACHINES_OF, PRETRAIN, TEXTS, configs, spec_of

from orchestrator.axolotl.explain import CLASSES, Explanation, explain, keys_of, nearest_name
from orchestrator.axolotl.keys import key_rules
from orchestrator.axolotl.origin import origin_of
from orchestrator.shipped import templates_folder
from orchestrator.spec.faults import all_fields
from orchestrator.spec.models import Spec


def only(name: str) -> Explanation:
    (explanation,) = explain(name)
    return explanation


@pytest.mark.parametrize("key", key_rules())
def test_every_key_is_explained(key: str) -> None:
    explanation = explain(key)[-1]
    assert (explanation.of, explanation.kind) == ("axolotl", key_rules()[key].kind)
    assert explanation.type
    assert explanation.why


@pytest.mark.parametrize("field", all_fields(Spec))
def test_every_field_is_explained(field: str) -> None:
    explanation = explain(field)[0]
    assert explanation.of == "spec"
    assert explanation.description
    assert "anything" not in explanation.type or field == "axolotl"


def test_a_key_and_its_field_name_each_other() -> None:
    key, field = only("learning_rate"), only("training.learning_rate")
    assert (key.fields, field.keys) == (("training.learning_rate",), ("learning_rate",))
    assert (key.kind, key.has_default, field.default) == ("owned", False, 2e-4)
    assert field.type == "number, greater than 0, at most 1"
    assert only("training.sequence_len").type == "whole number, at least 16, at most 1,048,576"


def test_a_bounded_key_tells_its_bounds() -> None:
    assert only("neftune_noise_alpha").type == "a number from 0.01 to 100"
    assert only("torch_compile_backend").type == "one of inductor"


def test_nested_names_and_last_parts_are_found() -> None:
    assert only("datasets[0].train_on_eos").name == "datasets[0].train_on_eos"
    assert only("fsdp_config.reshard_after_forward").kind == "admin"
    assert only("packing").name == "training.packing"
    assert only("early_stopping.patience" if explain("early_stopping.patience") else "patience").of == "spec"
    assert only("compute").holds == ("machine", "parallel", "queue", "priority", "max_hours")
    assert [explanation.of for explanation in explain("adapter")] == ["spec", "axolotl"]


@pytest.mark.parametrize(
    ("name", "near"),
    [("learning_rte", "learning_rate"), ("training.epoch", "training.epochs"), ("zzz", None)],
)
def test_an_unknown_name_has_a_nearest(name: str, near: str | None) -> None:
    assert explain(name) == []
    assert nearest_name(name) == near


def test_the_classes_hold_every_key() -> None:
    assert sum(len(keys_of(kind)) for kind in CLASSES) == len(key_rules())


@pytest.mark.parametrize("name", [*EXTRAS, *TEXTS])
def test_every_value_of_a_config_has_an_origin(name: str) -> None:
    """And a template that is named holds, on the line that is named, that key with that value."""
    machine, text = (EXTRAS | TEXTS)[name]
    spec = spec_of(text, PRETRAIN) if name in TEXTS else spec_of(text)
    for key in dict(configs())[name].keys:
        origin = origin_of(key, spec, MACHINES_OF[machine])
        assert origin, key
        if origin.source.startswith("axolotl_templates/"):
            file, _, line = origin.source.removeprefix("axolotl_templates/").partition(":")
            shown = (templates_folder() / file).read_text().splitlines()[int(line) - 1]
            assert shown.startswith(f"{key}:")


def test_an_origin_tells_the_reason_beside_the_value() -> None:
    spec, machine = spec_of("training: {packing: true}\n"), MACHINES_OF["cpu"]
    packing = origin_of("eval_sample_packing", spec, machine)
    assert packing
    assert (packing.value, packing.source) == (False, "axolotl_templates/packed.yaml:7")
    assert (packing.why or "").startswith("Held-out rows are scored one by one")
    template = origin_of("datasets[0].type", spec, machine)
    assert template
    assert (template.value, template.why) == (
        "chat_template",
        "with the base model's own template, the one its servers use",
    )


def test_what_the_data_decides_is_not_guessed() -> None:
    origin = origin_of("micro_batch_size", spec_of(""), MACHINES_OF["cpu"])
    assert origin
    assert not origin.known


def test_what_is_passed_through_and_what_is_not_set() -> None:
    spec = spec_of("axolotl: {neftune_noise_alpha: 5}\n")
    passed = origin_of("neftune_noise_alpha", spec, MACHINES_OF["cpu"])
    assert passed
    assert (passed.value, passed.source) == (5, "the spec")
    assert origin_of("fsdp_config.offload_params", spec, MACHINES_OF["cpu"]) is None
