"""`axo pull`: an adapter out of storage, verified, with the command that serves it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from stored_run import ADAPTER_CONFIG, SPEC, store_run

from orchestrator.cli import axo
from orchestrator.errors import ConflictError, NotFoundError, RegistryError
from orchestrator.registries.mlflow import parse_reference
from orchestrator.registries.serving import vllm_command, vllm_rank
from orchestrator.runs import Status


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AXO_MLFLOW_URI", "MLFLOW_TRACKING_URI", "AXO_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AXO_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def pull(*arguments: str) -> Result:
    return CliRunner().invoke(axo, ["pull", *arguments])


def test_the_adapter_comes_whole_with_card_provenance_and_the_command_that_serves_it(home: Path) -> None:
    store_run(home, "triage-1")
    done = pull("triage", "-o", "json")
    assert done.exit_code == 0, done.exception
    told = json.loads(done.stdout)
    folder = Path("triage-1")
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "provenance.json",
    ]
    assert (told["folder"], told["files"], told["rank"], told["notes"]) == ("triage-1", 4, 32, [])
    words = shlex.split(told["command"].replace("\\\n", ""))
    assert words[:8] == [
        "vllm",
        "serve",
        "org/base",
        "--revision",
        "0123abc",
        "--enable-lora",
        "--max-lora-rank",
        "32",
    ]
    assert json.loads(words[-1]) == {
        "name": "triage",
        "path": str(folder.absolute()),
        "base_model_name": "org/base",
    }


def test_the_command_names_a_base_model_in_a_folder_by_where_it_lies(home: Path) -> None:
    (home / "base").mkdir()
    store_run(home, "triage-1", text=SPEC.replace("org/base@0123abc", "base"))
    assert f"vllm serve {home / 'base'} --enable-lora" in pull("triage-1").stdout


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"modules_to_save": ["embed_tokens", "lm_head"]}, "embed_tokens, lm_head"),
        ({"rank_pattern": {"q_proj": 1024}}, "ranks up to 512"),
    ],
)
def test_what_vllm_cannot_serve_is_told_instead_of_a_command(
    home: Path, option: dict[str, Any], why: str
) -> None:
    store_run(home, "triage-1", adapter_config={**ADAPTER_CONFIG, **option})
    done = pull("triage-1")
    assert done.exit_code == 0
    assert "vllm serve" not in done.stdout
    assert why in done.stderr
    assert "merge_and_unload" in done.stderr


def test_a_folder_that_holds_something_is_left_alone(home: Path) -> None:
    store_run(home, "triage-1")
    Path("mine").mkdir()
    (Path("mine") / "file").write_text("x")
    assert isinstance(pull("triage-1", "mine").exception, ConflictError)
    assert [path.name for path in Path().rglob("*")] == ["mine", "file"]
    Path("empty").mkdir()
    assert pull("triage-1", "empty").exit_code == 0


def test_an_adapter_with_other_bytes_than_its_manifest_is_refused_and_leaves_nothing(home: Path) -> None:
    store_run(home, "triage-1")
    (home / "storage/runs/triage-1/adapter/adapter_model.safetensors").write_bytes(b"\1" * 100)
    assert isinstance(pull("triage-1").exception, RegistryError)
    assert not list(Path().iterdir())


def test_a_run_without_an_adapter_is_told(home: Path) -> None:
    store_run(home, "triage-1", status=Status.TRAINING)
    error = pull("triage-1").exception
    assert isinstance(error, ConflictError)
    assert "it is training" in str(error)
    assert isinstance(pull("nobody").exception, NotFoundError)


def test_a_version_needs_a_server(home: Path) -> None:
    assert isinstance(pull("models:/triage/1").exception, RegistryError)
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("reference", "parsed"),
    [("models:/a b/3", ("a b", "3", False)), ("models:/a@best", ("a", "best", True))],
)
def test_references_of_mlflow(reference: str, parsed: tuple[str, str, bool]) -> None:
    assert parse_reference(reference) == parsed


@pytest.mark.parametrize("reference", ["models:/a", "models:/a/latest", "models:/a/b/3", "models:/a@"])
def test_what_names_no_version(reference: str) -> None:
    with pytest.raises(NotFoundError):
        parse_reference(reference)


@pytest.mark.parametrize(("rank", "needed"), [(1, 16), (16, 16), (17, 32), (130, 256), (512, 512)])
def test_the_rank_that_vllm_has_to_be_told(rank: int, needed: int) -> None:
    assert vllm_rank({"r": rank}) == needed
    assert vllm_rank({"r": 8, "rank_pattern": {"q": rank}}) == needed


def test_all_weights_are_served_by_their_folder() -> None:
    assert vllm_command("x", "base", None, None, "/a b") == ["vllm serve '/a b' --served-model-name x"]
