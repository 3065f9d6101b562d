"""An estimate goes by what the project's own runs measured, trained the same way on the same machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored_run import FACTS, SPEC, store_run

from orchestrator.controller.estimates import Compared, estimate_against_actual, measured_rate
from orchestrator.controller.facts import scores
from orchestrator.controller.of_run import run_store
from orchestrator.controller.package import package_texts
from orchestrator.db import opened
from orchestrator.estimate.speed import STARTUP_SECONDS, Rate
from orchestrator.machines import MACHINES, Machine
from orchestrator.spec.load import parse_spec
from orchestrator.spec.models import Spec

TRAINED = {**FACTS, "train": {"loading_seconds": 7.0}}


def rate(home: Path, project: str, spec: Spec, machine: Machine = MACHINES["cpu"]) -> Rate | None:
    with opened(f"sqlite:///{home / 'axo.db'}") as database:
        return measured_rate(database, project, spec.model_dump(mode="json"), machine)


def test_rates_are_those_of_the_projects_own_runs_alone(tmp_path: Path) -> None:
    store_run(tmp_path, "triage-aaaaa", facts=TRAINED, project="ours")
    spec = parse_spec(SPEC.encode(), tmp_path / "spec.yaml").spec
    assert rate(tmp_path, "ours", spec) == Rate(900.0, "measured", 7.0)
    assert rate(tmp_path, "theirs", spec) is None
    assert rate(tmp_path, "ours", spec, MACHINES["gpu"]) is None
    longer = spec.training.model_copy(update={"sequence_len": 512})
    assert rate(tmp_path, "ours", spec.model_copy(update={"training": longer})) is None


@pytest.mark.parametrize(
    ("actual", "at_most", "error"), [(50, None, 1.0), (150, 200, 0), (250, 200, -0.2), (80, 200, 0.25)]
)
def test_an_estimate_is_off_by_as_much_as_its_nearest_figure_is(
    actual: float, at_most: float | None, error: float
) -> None:
    assert Compared("seconds", 100, actual, at_most).error == pytest.approx(error)


@pytest.mark.parametrize("written", ["x", [1], {}, True, None, 10**400])
def test_figures_that_code_of_a_model_wrote_break_nobodys_estimate(tmp_path: Path, written: object) -> None:
    names = ("loading_seconds", "training_seconds", "peak_memory_bytes", "peak_gpu_memory_bytes")
    estimate = {"memory_bytes": {"total": 9, "overhead": 1}, "steps": 3, "seconds": 1, "tokens_per_second": 1}
    sides = {"rows": written, "base": written, "adapter": {"loss": written, "exact_match": 0.5}}
    facts = {**FACTS, "estimate": estimate, "train": dict.fromkeys(names, written), "evaluate": sides}
    run = store_run(tmp_path, "triage-aaaaa", facts=facts)
    spec = parse_spec(SPEC.encode(), tmp_path / "spec.yaml").spec
    assert rate(tmp_path, "default", spec) == Rate(900.0, "measured", STARTUP_SECONDS["cpu"])
    with opened(f"sqlite:///{tmp_path / 'axo.db'}") as database:
        compared = estimate_against_actual(database, database.run(run.id))
        assert [each.name for each in compared] == ["steps", "tokens per second"]
        texts = package_texts(database.run(run.id), spec, run_store(run), database)
    assert b"| exact match | - | 0.5" in texts["README.md"]
    assert scores(facts, "adapter") == {"exact_match": 0.5}
