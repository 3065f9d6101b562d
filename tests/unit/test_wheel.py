"""The wheel holds what the package reads at run time, and building it twice gives the same bytes."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build(folder: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def test_the_wheel_is_complete_and_reproducible(tmp_path: Path) -> None:
    first, second = build(tmp_path / "a"), build(tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    names = set(zipfile.ZipFile(first).namelist())
    templates = {
        f"orchestrator/_shipped/axolotl_templates/{p.name}" for p in ROOT.glob("axolotl_templates/*.yaml")
    }
    assert templates
    assert names >= templates | {
        "orchestrator/axolotl/schema-0.19.0.json",
        "orchestrator/axolotl/keys.yaml",
        "orchestrator/data/shape_schemas/fine_tuning_conversation.json",
        "orchestrator/db/migrations/env.py",
        "orchestrator/db/migrations/versions/0001_first.py",
        "orchestrator/trainer/plugin.py",
    }
    assert not any(name.endswith(".pyc") for name in names)
