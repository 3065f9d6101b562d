"""The demo as a new user runs it: one seed in the suite, ten in `scripts/prove demo`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def demo(trainer_python: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, str(ROOT / "scripts" / "demo.py"), "--folder", str(folder), "--seed", "7"]
    done = subprocess.run(
        command, env={**os.environ, "AXO_TRAINER_PYTHON": trainer_python}, capture_output=True, text=True
    )
    subprocess.run([*command, "--stop"], check=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_adapter_is_clearly_better_than_its_base(demo: tuple[Path, str]) -> None:
    base, adapter = (
        float(re.search(rf"^{name} +([\d.]+)%", demo[1], re.MULTILINE)[1])  # type: ignore[index]
        for name in ("base model", "adapter")
    )
    assert base < 40
    assert adapter > 90


def test_its_bad_rows_are_shown(demo: tuple[Path, str]) -> None:
    assert "red" in demo[1]
    assert "an assistant message is empty" in demo[1]


def test_the_forecast_is_what_axolotl_counted(demo: tuple[Path, str]) -> None:
    (adapter,) = demo[0].glob("home/storage/runs/*/adapter/MANIFEST.json")
    (dataset,) = demo[0].glob("home/storage/datasets/*/dataset.json")
    counted = json.loads(adapter.read_text())["facts"]
    splits = json.loads(dataset.read_text())["splits"]
    assert counted["rows"] == splits["train"]["rows"]
    assert counted["validation_rows"] == splits["validation"]["rows"]
    assert counted["total_num_tokens"] == splits["train"]["tokens"]
    assert counted["total_supervised_tokens"] == splits["train"]["trained_tokens"]


def test_the_picture_shows_both_losses(demo: tuple[Path, str]) -> None:
    picture = (demo[0] / "loss.svg").read_text()
    assert "training loss" in picture
    assert "validation loss" in picture
