"""What a launch is told: its devices, and how often to save."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
from rendered import FACTS, MACHINES_OF, spec_of

from orchestrator.plan import Prepared, plan_train

PREPARED = Prepared("model", "dataset", FACTS)


@pytest.mark.parametrize(
    ("training", "task"),
    [
        ("", {"checkpoint_seconds": 900}),
        ("checkpoint_minutes: 2", {"checkpoint_seconds": 120}),
        ("checkpoint_steps: 9", {}),
        ("early_stopping: {patience: 1}", {"checkpoint_seconds": 900}),
    ],
)
def test_a_train_launch_knows_its_devices_and_its_cadence(training: str, task: dict[str, float]) -> None:
    spec = spec_of(f"training: {{{training}}}\n")
    launch = plan_train(spec, PREPARED, "run", 2, MACHINES_OF["cpu-2"]).launch
    assert (launch.devices, launch.task) == (2, task)


def test_a_smaller_micro_batch_keeps_the_batch() -> None:
    config = plan_train(spec_of(""), PREPARED, "run", 2, MACHINES_OF["gpu-4"], 2).config
    assert config
    assert (config.micro_batch_size, config.accumulation) == (2, 4)


def test_a_launch_is_told_the_adapter_it_goes_on_from() -> None:
    facts = {"model": "m", "dataset": "d", "dataset_facts": asdict(FACTS)}
    assert Prepared.from_facts(facts | {"earlier_adapter": None}) == Prepared("m", "d", FACTS)
    earlier = {"key": "runs/first/adapter", "digest": "5eed", "run": "first"}
    prepared = Prepared.from_facts(facts | {"earlier_adapter": earlier})
    launch = plan_train(spec_of(""), prepared, "run", 2, MACHINES_OF["cpu"]).launch
    assert launch.adapter == "runs/first/adapter"


@pytest.mark.parametrize(
    ("base_model", "revision", "named"),
    [
        ("upload://" + "5" * 64 + "/base/", None, "sha256:model"),
        ("../models/base", None, "sha256:model"),
        ("org/base@main", "0123abc", "org/base@0123abc"),
        ("org/base", "0123abc", "org/base@0123abc"),
    ],
)
def test_what_an_adapter_calls_its_base_does_not_depend_on_where_that_lay(
    base_model: str, revision: str | None, named: str
) -> None:
    spec = spec_of("").model_copy(update={"base_model": base_model})
    prepared = replace(PREPARED, revision=revision)
    assert plan_train(spec, prepared, "run", 2, MACHINES_OF["cpu"]).launch.base_model == named
