"""What keeps projects apart beyond their runs: adapters to go on from, names in MLflow."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from stored_run import ADAPTER_CONFIG, SPEC, store_run

from orchestrator import wire
from orchestrator.controller.publish import model_name
from orchestrator.controller.track import experiment_of
from orchestrator.errors import NotFoundError, SpecError
from orchestrator.host import Host, open_host
from orchestrator.service import LOCAL, Caller
from orchestrator.settings import Settings
from orchestrator.spec.models import MlflowTarget, Spec

EARLIER = SPEC.replace("{kind: lora, r: 24}", "{kind: lora, continue_from: triage-aaaaa}")
EARLIER = EARLIER.replace("source: tickets.jsonl", "source: hf://org/tickets@0123abc")
OURS, THEIRS = Caller("ours"), Caller("theirs")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    (tmp_path / "python").touch()
    config = {**ADAPTER_CONFIG, "lora_dropout": 0.1, "target_modules": None}
    store_run(tmp_path, "triage-aaaaa", project="ours", adapter_config=config)
    settings = Settings.from_environment(
        {"AXO_HOME": str(tmp_path), "AXO_TRAINER_PYTHON": str(tmp_path / "python")}
    )
    with open_host(settings, lambda: 1_000.0) as opened:
        yield opened


def test_nobody_goes_on_from_another_projects_adapter(host: Host, tmp_path: Path) -> None:
    asked = wire.Submission(spec=EARLIER)
    run = host.service.runs.submit(OURS, asked)
    assert (run.project, run.spec["adapter"]["r"]) == ("ours", 24)
    for caller in (THEIRS, dataclasses.replace(LOCAL, project="theirs")):
        with pytest.raises(SpecError, match="no such run with a finished adapter") as caught:
            host.service.runs.submit(caller, asked)
        assert [(fault.path, fault.line) for fault in caught.value.faults] == [("adapter.continue_from", 9)]


def test_what_only_storage_knows_is_for_those_who_hold_storage(host: Host) -> None:
    kept = host.service.settings.home / "storage/runs"
    (kept / "triage-aaaaa").rename(kept / "triage-bbbbb")
    asked = wire.Submission(spec=EARLIER.replace("triage-aaaaa", "triage-bbbbb"))
    assert host.service.runs.submit(LOCAL, asked).spec["adapter"]["r"] == 24
    for caller in (OURS, THEIRS, Caller()):
        with pytest.raises(SpecError):
            host.service.runs.submit(caller, asked)


def test_a_mapping_is_a_projects_own(host: Host) -> None:
    start, end = SPEC.index("mapping:"), SPEC.index("adapter:")
    text = SPEC[:start] + "mapping: tickets\n" + SPEC[end:]
    asked = wire.Submission(spec=text.replace("source: tickets.jsonl", "source: hf://org/tickets@0123abc"))
    kept = wire.MappingAsked(text="conversation: {column: messages}\n")
    host.service.mappings.put(OURS, "tickets", kept)
    assert host.service.runs.submit(OURS, asked).spec["mapping"]["conversation"]["column"] == "messages"
    with pytest.raises(SpecError, match="nor the project has a mapping of this name"):
        host.service.runs.submit(THEIRS, asked)
    assert host.service.mappings.page(THEIRS, 10).items == []
    for act in (host.service.mappings.get, host.service.mappings.delete):
        with pytest.raises(NotFoundError):
            act(THEIRS, "tickets")
    assert host.service.mappings.get(OURS, "tickets").text == kept.text


def test_names_in_mlflow_are_a_projects_own(host: Host) -> None:
    run = host.service.database.run("triage-aaaaa")
    spec = Spec.model_validate(dict(run.spec))
    assert experiment_of(run, spec) == "ours/triage"
    assert experiment_of(dataclasses.replace(run, project="default"), spec) == "triage"
    taken = spec.model_copy(
        update={"tracking": spec.tracking.model_copy(update={"experiment": "ours/triage"})}
    )
    named = {experiment_of(dataclasses.replace(run, project=who), taken) for who in ("default", "ours", "a")}
    assert named == {"default/ours/triage", "ours/ours/triage", "a/ours/triage"}
    assert (model_name("ours", "triage"), model_name("default", "triage")) == ("ours.triage", "triage")
    with pytest.raises(ValueError, match="model"):
        MlflowTarget(model="ours.triage")
