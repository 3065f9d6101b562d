"""`axo compare`, and the pictures that commands draw."""

from __future__ import annotations

import json
import math
from pathlib import Path
from urllib.parse import unquote

import pytest
from click.testing import CliRunner, Result
from stored_run import DATASET, FACTS, SPEC, store_run

from orchestrator import wire
from orchestrator.changes import differing, flat
from orchestrator.cli import axo
from orchestrator.cli.compare import mlflow_compare_url, short_names
from orchestrator.cli.connection import connected
from orchestrator.cli.curve import COLOURS, Curve, draw_curves
from orchestrator.cli.picture import Dot, Line, Words
from orchestrator.db import opened
from orchestrator.errors import NotFoundError
from orchestrator.reasons import Reason
from orchestrator.runs import Status


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AXO_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    store_run(tmp_path, "triage-aaaaa", losses=[4.0, 3.0, math.nan, 1.0])
    other = SPEC.replace("2e-4", "1e-3").replace("r: 24", "r: 8")
    facts = {**FACTS, "dataset": "e" * 64, "dataset_facts": {**FACTS["dataset_facts"], "rows": 90}}
    failed = {"status": Status.FAILED, "reason": Reason.OUT_OF_MEMORY}
    store_run(tmp_path, "triage-bbbbb", text=other, facts=facts, **failed)  # type: ignore[arg-type]
    return tmp_path


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(axo, ["compare", *arguments])


def test_what_differs_is_shown_and_what_does_not_is_not(home: Path) -> None:
    done = compare("triage-aaaaa", "triage-bbbbb")
    assert done.exit_code == 0, done.exception
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["..-aaaaa", "..-bbbbb"] in lines
    assert ["training.learning_rate", "0.0002", "0.001"] in lines
    assert ["adapter.r", "24", "8"] in lines
    assert ["status", "succeeded", "failed"] in lines
    assert ["rows", "100", "90"] in lines
    assert "training.epochs" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) < 80
    assert ["training.epochs", "3", "3"] in [
        line.split() for line in compare("triage-aaaaa", "triage-bbbbb", "--all").stdout.splitlines()
    ]


def test_runs_stand_one_below_the_other_where_they_have_no_room_beside_one_another(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    told = compare("triage-aaaaa", "triage-bbbbb").stdout
    assert "  training.learning_rate\n    ..-aaaaa: 0.0002\n    ..-bbbbb: 0.001\n" in told
    assert ["status", "succeeded", "failed"] in [line.split() for line in told.splitlines()]
    assert "…" not in told


def test_the_comparison_as_data_is_json_that_every_reader_takes(home: Path) -> None:
    done = compare("triage-aaaaa", "triage-bbbbb", "-o", "json")
    told = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert told["spec"]["adapter.r"] == {"triage-aaaaa": 24, "triage-bbbbb": 8}
    assert told["dataset"]["dataset"] == {"triage-aaaaa": DATASET, "triage-bbbbb": "e" * 64}
    assert told["result"]["loss"] == {"triage-aaaaa": 1.0, "triage-bbbbb": 1.0}


def test_one_run_is_no_comparison(home: Path) -> None:
    for names in (["triage-aaaaa"], ["triage-aaaaa", "triage-aaaaa"]):
        assert compare(*names).exit_code == 2
    assert isinstance(compare("triage-aaaaa", "triage-zzzzz").exception, NotFoundError)


def test_losses_are_drawn_as_svg_and_as_png(home: Path, tmp_path: Path) -> None:
    from PIL import Image

    for name in ("l.svg", "l.png"):
        assert compare("triage-aaaaa", "triage-bbbbb", "--curve", str(tmp_path / name)).exit_code == 0
    svg = (tmp_path / "l.svg").read_text()
    assert "triage-aaaaa" in svg
    assert "nan" not in svg
    with Image.open(tmp_path / "l.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (1520, 720))
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert {(0x25, 0x63, 0xEB), (0xDC, 0x26, 0x26), (255, 255, 255)} <= colours


def test_pictures_of_other_kinds_are_refused(home: Path, tmp_path: Path) -> None:
    for name in ("l.pdf", "l"):
        assert compare("triage-aaaaa", "triage-bbbbb", "--curve", str(tmp_path / name)).exit_code == 2
        assert not (tmp_path / name).exists()


def test_losses_far_from_nothing_fill_the_sheet() -> None:
    picture = draw_curves("x", [Curve("a", [(1, 8.3), (9, 7.9)], 0)])
    labels = [shape.text for shape in picture.shapes if isinstance(shape, Words) and shape.anchor == "end"]
    assert labels == ["7.9", "8", "8.1", "8.2", "8.3"]
    near = draw_curves("x", [Curve("a", [(1, 8.3), (9, 1.0)], 0)])
    assert "0" in [shape.text for shape in near.shapes if isinstance(shape, Words) and shape.anchor == "end"]


def test_held_out_losses_are_dots_without_a_line() -> None:
    picture = draw_curves("x", [Curve(None, [(1, 2.0), (9, 1.0)], 0, apart=True)])
    assert [shape.radius for shape in picture.shapes if isinstance(shape, Dot)] == [4, 4]
    assert all(shape.colour != COLOURS[0] for shape in picture.shapes if isinstance(shape, Line))


def test_names_of_many_runs_wrap_inside_the_sheet() -> None:
    curves = [Curve(f"{'long-name' * 5}-{n}", [(1, 2.0), (9, 1.0)], n) for n in range(8)]
    picture = draw_curves("x", curves)
    assert picture.height > 360
    texts = [shape for shape in picture.shapes if getattr(shape, "text", "").startswith("long")]
    assert len(texts) == 8
    assert all(shape.y < picture.height and shape.x < 400 for shape in texts)  # type: ignore[union-attr]


def test_a_folder_that_is_not_there_is_told(home: Path) -> None:
    done = compare("triage-aaaaa", "triage-bbbbb", "--curve", "/no/such/folder/l.svg")
    assert isinstance(done.exception, OSError)


def test_specs_become_dotted_keys() -> None:
    spec = {"a": {"b": 1, "none": None}, "publish": [{"m": {"x": 1}}, {"m": {"x": 2}}], "l": [1], "e": []}
    assert flat(spec) == {"a.b": 1, "publish[0].m.x": 1, "publish[1].m.x": 2, "l": [1]}
    assert differing([{"a": 1, "b": 2}, {"a": 1}]) == {"b": [2, None]}


@pytest.mark.parametrize(
    ("ids", "short"),
    [
        (["a-b-x1", "a-b-y2"], ["..-x1", "..-y2"]),
        (["mild-x1", "wild-x2"], ["mild-x1", "wild-x2"]),
        (["a-x1", "a-x12"], ["..-x1", "..-x12"]),
    ],
)
def test_runs_of_one_name_are_told_apart_by_their_ends(ids: list[str], short: list[str]) -> None:
    assert short_names(ids) == short


def test_mlflow_compares_runs_of_one_server(home: Path) -> None:
    page = "http://mlflow:5000/#/experiments/{}/runs/{}"
    pages = told(home, page.format(1, "r1"), page.format(2, "r2"))
    assert unquote(mlflow_compare_url(pages) or "") == (
        'http://mlflow:5000/#/compare-runs?runs=["r1", "r2"]&experiments=["1", "2"]'
    )
    elsewhere = told(home, page.format(1, "r1"), "http://other/#/experiments/1/runs/r2")
    assert mlflow_compare_url(elsewhere) is None
    assert mlflow_compare_url(told(home, page.format(1, "r1"), None)) is None


def told(home: Path, *urls: str | None) -> list[wire.RunDetail]:
    runs = ["triage-aaaaa", "triage-bbbbb"]
    with opened(f"sqlite:///{home / 'axo.db'}") as database:
        for run, url in zip(runs, urls, strict=True):
            database.update(database.run(run), mlflow_url=url)
    with connected() as client:
        return [client.run(run) for run in runs]
