"""`axo clone`: a run's spec as a new file."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from stored_run import SPEC, store_run

from orchestrator.cli import axo
from orchestrator.cli.clone import counted_on
from orchestrator.errors import SpecError
from orchestrator.spec.load import load_spec


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("AXO_HOME", str(home))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (home / "tickets.jsonl").write_text("{}\n")
    store_run(home, "triage-1")
    return home


def clone(*arguments: str) -> Result:
    return CliRunner().invoke(axo, ["clone", *arguments])


def test_the_clone_has_the_change_the_comments_and_its_data_from_where_it_lies() -> None:
    done = clone("triage-1", "--set", "training.learning_rate=1e-3", "--set", "training.epochs=1")
    assert done.exit_code == 0, done.exception
    text = Path("triage-2.yaml").read_text()
    assert "# where the tickets come from\n" in text
    assert "  learning_rate: 1e-3  # the peak\n" in text
    spec = load_spec(Path("triage-2.yaml")).spec
    assert (spec.name, spec.training.learning_rate, spec.training.epochs) == ("triage-2", 1e-3, 1)
    assert spec.dataset.source == "../home/tickets.jsonl"
    assert "training.learning_rate: 0.001" in done.stderr
    assert "axo check triage-2.yaml" in done.stderr


def test_a_clone_beside_the_old_spec_keeps_its_paths(home: Path) -> None:
    done = clone("triage-1", "--output", str(home / "new.yaml"), "--name", "new")
    assert done.exit_code == 0, done.exception
    assert (home / "new.yaml").read_text() == SPEC.replace("name: triage", "name: new")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("training.learning_rate=fast", "must be a number"),
        ("training.learning_rte=0.1", "did you mean `learning_rate`"),
        ("adapter.r=100000", "512"),
        ("training=3", "this is a section"),
        ("dataset.source=[a", "no YAML"),
    ],
)
def test_a_change_is_checked_before_anything_is_written(change: str, told: str) -> None:
    error = clone("triage-1", "--set", change).exception
    assert isinstance(error, SpecError)
    assert told in str(error)
    assert not list(Path().iterdir())


@pytest.mark.parametrize("change", ["training.epochs", "=3", "3"])
def test_a_change_without_field_or_value_is_wrong_usage(change: str) -> None:
    assert clone("triage-1", "--set", change).exit_code == 2


def test_a_file_that_is_there_is_never_replaced() -> None:
    Path("triage-2.yaml").write_text("mine")
    assert clone("triage-1").exit_code == 2
    assert clone("triage-1", "--stdout").stdout.startswith("name: triage-2\n")
    assert Path("triage-2.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "next_name"), [("a", "a-2"), ("a-2", "a-3"), ("a-9", "a-10"), ("x" * 48, f"{'x' * 46}-2")]
)
def test_names_are_counted_on(name: str, next_name: str) -> None:
    assert counted_on(name) == next_name
