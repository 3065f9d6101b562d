"""A spec becomes an Axolotl config: whole texts, exact figures, and refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rendered import FACTS, MACHINES_OF, PRETRAIN, configs, spec_of

from orchestrator.axolotl.dump import dump_yaml
from orchestrator.axolotl.render import Config, render
from orchestrator.axolotl.schema import problems
from orchestrator.data.conversation import TrainingRules
from orchestrator.errors import Fault, SpecError
from orchestrator.spec.yaml import read_yaml

GOLDEN = Path(__file__).parent / "golden"
CONFIGS = dict(configs())


def rendered(training: str = "", **facts: int) -> Config:
    return render(spec_of(f"training: {{{training}}}\n"), MACHINES_OF["cpu"], replace(FACTS, **facts))


def refused(text: str) -> list[Fault]:
    with pytest.raises(SpecError) as caught:
        render(spec_of(text), MACHINES_OF["cpu"], FACTS)
    return list(caught.value.faults)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_text_is_the_golden_one(name: str) -> None:
    file = GOLDEN / f"{name}.yaml"
    if os.environ.get("AXO_UPDATE_GOLDEN"):
        file.write_text(CONFIGS[name].text, encoding="utf-8")
    assert CONFIGS[name].text.encode() == file.read_bytes()


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in GOLDEN.iterdir()} == set(CONFIGS)


def test_another_process_renders_the_same_bytes() -> None:
    program = "from rendered import configs; print(''.join(c.text for _, c in configs()), end='')"
    tests = Path(__file__).parents[2]
    path = os.pathsep.join([str(tests), str(tests.parent)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "7"}
    again = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    assert again.stdout.decode() == "".join(config.text for config in CONFIGS.values())


@pytest.mark.parametrize("name", CONFIGS)
def test_every_reader_of_yaml_gets_the_same_config(name: str) -> None:
    assert yaml.safe_load(CONFIGS[name].text) == CONFIGS[name].keys
    assert read_yaml(CONFIGS[name].text.encode(), name).value == CONFIGS[name].keys


@pytest.mark.parametrize("name", CONFIGS)
def test_axolotls_schema_has_nothing_against_it(name: str) -> None:
    assert problems(CONFIGS[name].keys) == []


def test_the_rows_are_trained_under_the_rules_they_were_counted_by() -> None:
    keys = CONFIGS["lora-unpacked-cpu"].keys
    rules = TrainingRules(sequence_len=keys["sequence_len"])
    for dataset in (*keys["datasets"], *keys["test_datasets"]):
        block = {name: value for name, value in dataset.items() if name not in ("path", "ds_type", "split")}
        assert block == rules.dataset_keys()
    assert keys.items() >= rules.config_keys().items()


@pytest.mark.parametrize(
    ("training", "rows", "steps", "max_steps"),
    [
        ("epochs: 3, batch_size: 32", 1900, 179, None),
        ("epochs: 1, batch_size: 32", 31, 1, None),
        ("epochs: 2.5, batch_size: 6", 61, 26, None),  # seen in a run of Axolotl on a CPU
        ("epochs: 0.1, batch_size: 7", 1001, 15, None),
        ("epochs: 3, batch_size: 32, max_steps: 100", 1900, 100, 100),
        ("epochs: 3, batch_size: 32, max_steps: 500", 1900, 179, None),
        ("packing: true", 1900, None, None),
        ("packing: true, max_steps: 9", 1900, 9, 9),
    ],
)
def test_the_number_of_steps(training: str, rows: int, steps: int | None, max_steps: int | None) -> None:
    config = rendered(training, rows=rows)
    assert config.steps == steps
    assert config.keys.get("max_steps") == max_steps


def test_warmup_is_a_share_of_the_steps_that_run() -> None:
    """Axolotl takes the ratio of all epochs, even where max_steps ends the run long before."""
    assert rendered("warmup_ratio: 0.1").keys["warmup_ratio"] == 0.1
    cut = rendered("warmup_ratio: 0.1, max_steps: 50").keys
    assert (cut["warmup_steps"], "warmup_ratio" in cut) == (5, False)


@pytest.mark.parametrize(
    ("batch", "length", "machine", "packing", "micro"),
    [
        (32, 100, "cpu", False, 8),
        (32, 2048, "cpu", False, 4),
        (32, 2048, "gpu", False, 8),
        (32, 8192, "gpu", False, 2),
        (32, 100, "gpu", True, 2),
        (7, 100, "cpu", False, 7),
        (13, 100, "cpu", False, 1),
        (6, 3000, "cpu", False, 2),
        (4, 100_000, "gpu", False, 2),
    ],
)
def test_the_micro_batch_divides_the_batch_and_fits(
    batch: int, length: int, machine: Any, packing: bool, micro: int
) -> None:
    packed = str(packing).lower()
    spec = spec_of(f"training: {{batch_size: {batch}, sequence_len: 8192, packing: {packed}}}\n")
    config = render(spec, MACHINES_OF[machine], replace(FACTS, longest=length))
    assert (config.micro_batch_size, config.accumulation) == (micro, batch // micro)


@pytest.mark.parametrize(
    ("training", "save", "evaluate"),
    [
        ("", None, 18),
        ("max_steps: 5", None, 1),
        ("checkpoint_minutes: 5, packing: true, sequence_len: 512", None, 4),
        ("checkpoint_steps: 50", 50, 10),
        ("eval_steps: 7", None, 7),
        ("eval_steps: 7, checkpoint_steps: 50", 50, 7),
        ("early_stopping: {patience: 2}", 18, 18),
        ("eval_steps: 5, early_stopping: {patience: 2}", 5, 5),
        ("checkpoint_steps: 17, early_stopping: {patience: 2}", 17, 17),
    ],
)
def test_the_cadence(training: str, save: int | None, evaluate: int) -> None:
    config = rendered(training)
    assert (config.save_steps, config.eval_steps) == (save, evaluate)
    assert (config.keys["save_steps"], config.keys["eval_steps"]) == (save or 1_000_000_000, evaluate)


@given(
    steps=st.one_of(st.none(), st.integers(9, 10_000)),
    evaluate=st.one_of(st.none(), st.integers(1, 9)),
    checkpoint=st.one_of(st.none(), st.integers(1, 300)),
    rows=st.integers(100, 100_000),
)
def test_early_stopping_always_has_its_best_checkpoint(
    steps: int | None, evaluate: int | None, checkpoint: int | None, rows: int
) -> None:
    wanted = {"max_steps": steps, "eval_steps": evaluate, "checkpoint_steps": checkpoint}
    if evaluate and checkpoint:
        wanted["checkpoint_steps"] = evaluate * checkpoint
    training = ", ".join(f"{key}: {value}" for key, value in wanted.items() if value)
    config = rendered(f"{training}{', ' if training else ''}early_stopping: {{patience: 1}}", rows=rows)
    assert config.eval_steps
    assert config.save_steps
    assert config.save_steps % config.eval_steps == 0
    assert config.keys["load_best_model_at_end"] is True


def test_without_held_out_rows_nothing_is_evaluated() -> None:
    whole = spec_of("")
    spec = whole.model_copy(update={"dataset": whole.dataset.model_copy(update={"validation": None})})
    keys = render(spec, MACHINES_OF["cpu"], replace(FACTS, validation_rows=0)).keys
    assert not {"test_datasets", "eval_steps", "early_stopping_patience"} & set(keys)
    assert keys["load_best_model_at_end"] is False


@pytest.mark.parametrize(("facts", "path"), [({"rows": 0}, "source"), ({"validation_rows": 0}, "validation")])
def test_a_dataset_that_cannot_be_trained_on_is_refused(facts: dict[str, int], path: str) -> None:
    with pytest.raises(SpecError) as caught:
        rendered(**facts)
    assert [fault.path for fault in caught.value.faults] == [f"dataset.{path}"]


def test_a_stream_is_read_again_but_must_fill_a_step() -> None:
    streamed = (
        "training: {streaming: true, packing: true, sequence_len: 128, batch_size: 8, max_steps: 9000}\n"
    )
    spec = spec_of(streamed, PRETRAIN)
    just = replace(FACTS, tokens=128 * 8)
    assert render(spec, MACHINES_OF["cpu"], just).steps == 9000
    with pytest.raises(SpecError) as caught:
        render(spec, MACHINES_OF["cpu"], replace(just, tokens=128 * 8 - 1))
    (fault,) = caught.value.faults
    assert (fault.path, "1,023 tokens" in fault.what) == ("training.streaming", True)


def test_early_stopping_without_an_evaluation_is_refused() -> None:
    (fault,) = refused("training: {max_steps: 9, eval_steps: 10, early_stopping: {patience: 1}}\n")
    assert (fault.path, fault.value) == ("training.eval_steps", "10")
    assert "9 steps" in fault.what


@pytest.mark.parametrize(
    ("key", "what", "fix"),
    [
        ("hub_model_id: x", "not allowed", "remove it"),
        ("num_epochs: 3", "sets this key itself", "set training.epochs in the spec instead"),
        ("deepspeed: x", "belongs to the operator", "remove it"),
        ("neftune_noise_alfa: 5", "no such key", "did you mean `neftune_noise_alpha`?"),
        (
            "learning_rte: 5",
            "no such key",
            "did you mean `learning_rate`, in the spec training.learning_rate?",
        ),
        ("neftune_noise_alpha: 500", "must be a number from 0.01 to 100", None),
        ("neftune_noise_alpha: true", "must be a number from 0.01 to 100", None),
        ("neftune_noise_alpha:", "has no value", "give it one, or remove the key"),
        ("optimizer: sgd", "must be adamw_torch or", None),
        ("activation_offloading: disk", "must be true or false or legacy or hidden_states", None),
        ("curriculum_sampling: maybe", "must be true or false", None),
        ("dataloader_num_workers: 1.5", "must be a whole number", None),
    ],
)
def test_a_key_that_may_not_pass_is_refused(key: str, what: str, fix: str | None) -> None:
    (fault,) = refused(f"axolotl:\n  {key}\n")
    assert what in fault.what
    assert fault.fix == fix
    assert fault.path == f"axolotl.{key.partition(':')[0]}"


def test_a_key_inside_a_key_is_checked_too() -> None:
    faults = refused("axolotl: {lr_groups: [{nam: x, modules: [head], lr: 0.1}]}\n")
    assert [fault.path for fault in faults] == ["axolotl.lr_groups[0].nam", "axolotl.lr_groups[0].name"]
    assert faults[0].fix == "did you mean `name`?"


def test_a_misspelt_key_of_a_dataset_is_found() -> None:
    """Axolotl takes `feild_messages` and reads no messages."""
    keys = json.loads(json.dumps(CONFIGS["lora-unpacked-cpu"].keys))
    keys["datasets"][0]["feild_messages"] = keys["datasets"][0].pop("field_messages")
    (problem,) = problems(keys)
    assert problem.path == ("datasets", 0, "feild_messages")
    assert problem.fix == "did you mean `field_messages`?"


PLAIN = st.recursive(
    st.one_of(
        st.text(),
        st.booleans(),
        st.integers(-(2**63), 2**63),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
TRICKY = (
    "1e-4",
    "0o17",
    "017",
    "yes",
    "n",
    "1_000",
    "~",
    "",
    "0x1F",
    "12:30",
    "2024-01-01",
    "=",
    "<<",
    ".5",
    "- a",
)


@given(st.dictionaries(st.text(min_size=1), st.one_of(PLAIN, st.sampled_from(TRICKY)), max_size=4))
def test_written_yaml_reads_back_the_same_for_both_versions(data: dict[str, Any]) -> None:
    text = dump_yaml(data)
    assert yaml.safe_load(text) == data
    assert read_yaml(text.encode(), "x").value == data
