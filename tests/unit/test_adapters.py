"""Going on from an earlier adapter: finding it, taking its settings over, putting it into storage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rendered import spec_of

from orchestrator.adapters import EarlierAdapter, continued, find_adapter, stage_adapter
from orchestrator.contract import (
    FileStore,
    LaunchPlan,
    Manifest,
    commit_folder,
    fetch_folder,
    open_store,
)
from orchestrator.errors import Fault, SpecError
from orchestrator.spec.models import Spec

CONFIG = {
    "peft_type": "LORA",
    "r": 8,
    "lora_alpha": 24,
    "lora_dropout": 0.1,
    "target_modules": ["v_proj", "q_proj"],
}


@pytest.fixture
def storage(tmp_path: Path) -> FileStore:
    store = open_store((tmp_path / "storage").as_uri())
    assert isinstance(store, FileStore)
    return store


def adapter(folder: Path, config: object = CONFIG) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    (folder / "training_args.bin").write_bytes(b"a pickle")
    return folder


def trained(storage: FileStore, folder: Path, run: str) -> None:
    commit_folder(storage, folder, f"runs/{run}/adapter", Manifest("adapter", ()))
    plan = LaunchPlan(run, 2, "train", model="models/one")
    storage.write(f"runs/{run}/launches/1/plan.json", LaunchPlan(run, 1, "prepare").to_json())
    storage.write(f"runs/{run}/launches/2/plan.json", plan.to_json())


def going_on(settings: str = "", reference: str = "earlier") -> Spec:
    return spec_of(f"adapter: {{kind: lora, continue_from: {reference}{settings}}}\n")


def faults(error: pytest.ExceptionInfo[SpecError]) -> list[Fault]:
    return list(error.value.faults)


def test_a_folder_is_staged_by_its_content_and_nothing_else_of_it(storage: FileStore, tmp_path: Path) -> None:
    adapter(tmp_path / "earlier")
    found = find_adapter("earlier", tmp_path, storage)
    facts = stage_adapter(storage, found, "models/one")
    assert facts == stage_adapter(storage, found, "models/two")
    assert (facts["run"], facts["key"]) == (None, f"adapters/{facts['digest']}")
    fetched = fetch_folder(storage, facts["key"], tmp_path / "there")
    assert {file.path for file in fetched.files} == {"adapter_config.json", "adapter_model.safetensors"}


def test_the_adapter_of_a_run_is_used_where_it_lies(storage: FileStore, tmp_path: Path) -> None:
    trained(storage, adapter(tmp_path / "made"), "first-abc12")
    found = find_adapter("first-abc12", tmp_path, storage)
    facts = stage_adapter(storage, found, "models/one")
    assert (facts["key"], facts["run"]) == ("runs/first-abc12/adapter", "first-abc12")
    assert len(facts["digest"]) == 64


def test_weights_of_another_base_model_are_refused(storage: FileStore, tmp_path: Path) -> None:
    trained(storage, adapter(tmp_path / "made"), "first-abc12")
    found = find_adapter("first-abc12", tmp_path, storage)
    with pytest.raises(SpecError, match="other base model weights") as caught:
        stage_adapter(storage, found, "models/two")
    assert faults(caught)[0].path == "adapter.continue_from"


@pytest.mark.parametrize("plan", [b"[" * 9000, b"[]", b"{}", b"\xff", b'{"run": 1}'])
def test_a_plan_that_is_none_names_no_base_model(storage: FileStore, tmp_path: Path, plan: bytes) -> None:
    trained(storage, adapter(tmp_path / "made"), "first-abc12")
    storage.write("runs/first-abc12/launches/1/plan.json", plan)
    assert find_adapter("first-abc12", tmp_path, storage).model == "models/one"


@pytest.mark.parametrize(
    "changes",
    [{"r": [1, "a"]}, {"target_modules": [1, "a"]}, {"lora_alpha": {}}, {"lora_dropout": [None, 1]}],
)
def test_settings_of_the_wrong_kind_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(SpecError):
        continued(
            going_on(", r: 8, target_modules: [q_proj]"), EarlierAdapter("earlier", {**CONFIG, **changes})
        )


def test_rank_alpha_dropout_and_layers_are_those_of_the_earlier_one() -> None:
    taken = continued(going_on(), EarlierAdapter("earlier", CONFIG)).adapter
    assert (taken.r, taken.alpha, taken.dropout, taken.target_modules) == (8, 24, 0.1, ["q_proj", "v_proj"])
    same = going_on(", r: 8, target_modules: [v_proj, q_proj]")
    assert continued(same, EarlierAdapter("earlier", CONFIG)).adapter == taken
    assert Spec.model_validate(continued(same, EarlierAdapter("e", CONFIG)).model_dump(mode="json"))


def test_every_contradiction_is_told_with_both_values() -> None:
    spec = going_on(", r: 16, alpha: 24, dropout: 0.0, target_modules: [o_proj]")
    with pytest.raises(SpecError) as caught:
        continued(spec, EarlierAdapter("earlier", CONFIG))
    assert [(fault.path, fault.value) for fault in faults(caught)] == [
        ("adapter.r", "16"),
        ("adapter.dropout", "0.0"),
        ("adapter.target_modules", '["o_proj"]'),
    ]
    assert faults(caught)[0].what == "the adapter it goes on from has 8"


def test_settings_beyond_a_spec_are_refused() -> None:
    with pytest.raises(SpecError, match="its r cannot be trained with here"):
        continued(going_on(), EarlierAdapter("earlier", {**CONFIG, "r": 4096}))


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ([], "no JSON object"),
        ({**CONFIG, "peft_type": "IA3"}, "adapter of the kind IA3"),
    ],
)
def test_what_is_no_lora_adapter_is_refused(
    storage: FileStore, tmp_path: Path, config: object, what: str
) -> None:
    adapter(tmp_path / "earlier", config)
    with pytest.raises(SpecError, match=what):
        find_adapter("earlier", tmp_path, storage)


@pytest.mark.parametrize("reference", ["no-such-run", "../no/such/folder", "unfinished-abc12"])
def test_what_is_not_there_is_refused(storage: FileStore, tmp_path: Path, reference: str) -> None:
    storage.write("runs/unfinished-abc12/spec.yaml", b"")
    with pytest.raises(SpecError, match="no such run with a finished adapter") as caught:
        find_adapter(reference, tmp_path, storage)
    assert faults(caught)[0].value == reference


def test_a_folder_without_safetensors_and_a_run_of_all_weights_are_refused(
    storage: FileStore, tmp_path: Path
) -> None:
    (adapter(tmp_path / "earlier") / "adapter_model.safetensors").unlink()
    with pytest.raises(SpecError, match=r"the folder has no adapter_model\.safetensors"):
        find_adapter("earlier", tmp_path, storage)
    whole = tmp_path / "whole"
    whole.mkdir()
    (whole / "model.safetensors").write_bytes(b"weights")
    trained(storage, whole, "whole-abc12")
    with pytest.raises(SpecError, match="all weights"):
        find_adapter("whole-abc12", tmp_path, storage)
