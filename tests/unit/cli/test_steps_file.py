"""All metrics as CSV, by the option that draws them: of one run and of several, here and elsewhere."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest
from click.testing import CliRunner
from serving import serving
from stored_run import store_run

from orchestrator.cli import axo, steps_file
from orchestrator.service import runs


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("AXO_HOME", str(home))
    store_run(home, "triage-aaaaa", losses=[4.0, 3.0, math.nan, 0.1 + 0.2], held_out={4: 2.5})
    store_run(home, "triage-bbbbb")
    return home


def written(file: Path, *arguments: str) -> str:
    done = CliRunner().invoke(axo, [*arguments, "--curve", str(file)])
    assert done.exit_code == 0, done.output
    return file.read_text()


WHOLE = """\
step,loss,eval_loss,tokens_per_second
1,4.0,,900.0
2,3.0,,900.0
3,nan,,900.0
4,0.30000000000000004,2.5,900.0
"""


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10_000])
def test_each_step_is_a_row(home: Path, tmp_path: Path, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps_file, "STEPS", steps)
    assert written(tmp_path / "m.csv", "get", "triage-aaaaa") == WHOLE


@pytest.mark.parametrize("points", [3, 5, 6])
def test_no_step_is_thinned_out_of_small_answers(
    home: Path, tmp_path: Path, points: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MAX_POINTS", points)
    monkeypatch.setattr(steps_file, "MAX_POINTS", points)
    for most in (1, 2, 3, 50):
        monkeypatch.setattr(steps_file, "KEYS", most)
        assert written(tmp_path / "m.csv", "get", "triage-aaaaa") == WHOLE


def test_several_runs_stand_in_one_file(home: Path, tmp_path: Path) -> None:
    rows = list(
        csv.DictReader(written(tmp_path / "m.CSV", "compare", "triage-aaaaa", "triage-bbbbb").splitlines())
    )
    assert [(row["run"], row["step"]) for row in rows] == [
        *(("triage-aaaaa", str(step)) for step in (1, 2, 3, 4)),
        *(("triage-bbbbb", str(step)) for step in (1, 2, 3)),
    ]
    assert {row["eval_loss"] for row in rows if row["run"] == "triage-bbbbb"} == {""}


def test_a_service_elsewhere_is_asked(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(home) as server:
        monkeypatch.setenv("AXO_HOME", str(tmp_path / "laptop"))
        monkeypatch.setenv("AXO_URL", server.url)
        assert written(tmp_path / "m.csv", "get", "triage-aaaaa") == WHOLE


def test_a_run_that_logged_nothing_has_no_rows(home: Path, tmp_path: Path) -> None:
    store_run(home, "triage-ccccc", losses=[])
    assert written(tmp_path / "m.csv", "get", "triage-ccccc") == "step\n"
