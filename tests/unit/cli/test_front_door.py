"""From a file to a plan: what `axo init` takes it for, and what `axo check` and `axo plan` then say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from many_shapes import Shape, shapes
from toy_models import MODELS

from orchestrator.cli import axo

REAL = Path(__file__).parents[4] / "shared" / "data" / "real"
# The form a file is taken for, and how many rows it holds.
FILES = {
    "alpaca_en_demo.json": ("alpaca", 999),
    "glaive_toolcall_en_demo.json": ("sharegpt", 300),
    "identity.json": ("alpaca", 91),
    "kto_en_demo.json": ("openai", 300),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AXO_HOME", str(tmp_path / "home"))
    MODELS["tools"].write(tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").write_bytes(b"\2\0\0\0\0\0\0\0{}")
    return tmp_path


@pytest.mark.parametrize("shape", list(shapes()), ids=lambda shape: f"{shape.form} in {shape.kind}")
def test_a_file_of_any_shape_becomes_a_plan(shape: Shape, folder: Path) -> None:
    taken, found = front_door(shape.write(folder))
    assert taken == shape.taken
    report = found["report"]
    assert (report["rows"], report["green"], report["red"]) == (shape.rows, shape.rows, 0)
    assert sum(split["rows"] for split in found["splits"].values()) == shape.rows


@pytest.mark.parametrize("name", FILES)
def test_a_real_file_becomes_a_plan(name: str, folder: Path) -> None:
    if not (REAL / name).exists():
        pytest.skip(f"{name} is not beside the checkout")
    (folder / name).symlink_to(REAL / name)
    taken, found = front_door(name)
    assert (taken, found["report"]["rows"]) == FILES[name]
    assert found["report"]["red"] == 0


def front_door(name: str) -> tuple[str, dict[str, object]]:
    """What `init` takes a file for, and what `check` finds; both, and `plan`, must be content."""
    made = called("init", name, "--base-model", "base")
    taken = made.stderr.split("taken for ", 1)[1].split(" (", 1)[0]
    checked = called("check", "spec.yaml", "-o", "json")
    planned = json.loads(called("plan", "spec.yaml", "-o", "json").stdout)
    assert planned["steps"] > 0
    return taken, json.loads(checked.stdout)


def called(*arguments: str) -> Result:
    done = CliRunner().invoke(axo, list(arguments))
    assert done.exit_code == 0, done.output
    return done
