"""The wheel holds what the package reads at run time, and building it twice gives the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build(folder: Path, root: Path = ROOT) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def copy(target: Path) -> Path:
    """The project somewhere else, everything just written and for its owner's eyes only."""
    left_out = shutil.ignore_patterns(".*", "__pycache__", "dist", "tests", "docs", "demo", "*.pyc")
    shutil.copytree(ROOT, target, ignore=left_out, copy_function=shutil.copyfile)
    for path in target.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return target


def test_the_wheel_is_complete_and_reproducible(tmp_path: Path) -> None:
    first, second = build(tmp_path / "a"), build(tmp_path / "b", copy(tmp_path / "copy"))
    assert sha256(first.read_bytes()).hexdigest() == sha256(second.read_bytes()).hexdigest()
    names = set(zipfile.ZipFile(first).namelist())
    templates = {
        f"orchestrator/_shipped/axolotl_templates/{p.name}" for p in ROOT.glob("axolotl_templates/*.yaml")
    }
    assert templates
    assert names >= templates | {
        "orchestrator/_shipped/k8s/job.yaml",
        "orchestrator/axolotl/schema-0.19.0.json",
        "orchestrator/axolotl/keys.yaml",
        "orchestrator/data/shape_schemas/fine_tuning_conversation.json",
        "orchestrator/db/migrations/env.py",
        "orchestrator/db/migrations/versions/0001_first.py",
        "orchestrator/trainer/plugin.py",
    }
    assert not any(name.endswith(".pyc") for name in names)
