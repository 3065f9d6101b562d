"""Files that killed writers left are removed a day later; whole ones, and those being written, stay."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orchestrator import contract, uploads
from orchestrator.controller.leftovers import DAY_SECONDS, Leftovers
from orchestrator.settings import Settings

SHA256 = "a" * 64
KILLED = """\
import os, sys
from orchestrator import contract, uploads
store = contract.open_store(sys.argv[1])
uploads.write_part(store, sys.argv[2], 0, b"whole")
os.fsync = lambda _: os.kill(os.getpid(), 9)
uploads.write_part(store, sys.argv[2], 1, b"cut")
"""


def killed_upload(folder: Path) -> Path:
    """The folder of an upload whose writer was killed within its second part."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), SHA256])
    assert done.returncode == -signal.SIGKILL
    return folder / SHA256


def sweep(storage: Path | str, days: float) -> None:
    settings = Settings.from_environment({"AXO_HOME": "/nowhere", "AXO_STORAGE": str(storage)})
    Leftovers(settings, lambda: time.time() + days * DAY_SECONDS).turn()


def unfinished(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.startswith(contract.UNFINISHED)]


@pytest.mark.parametrize("storage", ["storage", "{project} [1]/storage"])
def test_a_part_that_a_kill_cut_off_goes_a_day_later(tmp_path: Path, storage: str) -> None:
    place = tmp_path / storage.replace("{project}", "ours")
    upload = killed_upload(place / uploads.uploads_key("ours"))
    assert len(unfinished(place)) == 1
    sweep(tmp_path / storage, 0.9)
    assert len(unfinished(place)) == 1, "somebody may be writing it"
    sweep(tmp_path / storage, 1.1)
    assert [path.name for path in upload.iterdir()] == ["part-000000"]


@pytest.mark.parametrize(
    "folder", ["models/0", "datasets/0", "runs/r/checkpoints/checkpoint-7", "runs/r/adapter"]
)
def test_so_does_what_steps_left(tmp_path: Path, folder: str) -> None:
    left = tmp_path / folder / f"{contract.UNFINISHED}1-2-model.safetensors"
    left.parent.mkdir(parents=True)
    left.touch()
    (left.parent / "model.safetensors").touch()
    sweep(tmp_path, 1.1)
    assert [path.name for path in left.parent.iterdir()] == ["model.safetensors"]


def test_no_link_is_gone_through(tmp_path: Path) -> None:
    outside = tmp_path / "outside" / f"{contract.UNFINISHED}theirs"
    outside.parent.mkdir()
    outside.touch()
    storage = tmp_path / "storage"
    for link in ("runs/r/checkpoints", "runs/r/adapter/folder"):
        (storage / link).parent.mkdir(parents=True, exist_ok=True)
        (storage / link).symlink_to(outside.parent)
    (storage / f"runs/r/adapter/{contract.UNFINISHED}link").symlink_to(outside)
    sweep(storage, 1.1)
    assert outside.exists()


def test_storage_that_is_elsewhere_or_not_there_is_left_alone(tmp_path: Path) -> None:
    sweep("s3://bucket/prefix", 1.1)
    sweep(tmp_path / "none", 1.1)
