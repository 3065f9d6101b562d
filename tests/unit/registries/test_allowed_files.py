"""Which files may leave storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import RegistryError
from orchestrator.registries import FileNotAllowed, allowed_files

GOOD = [
    "README.md",
    "adapter_config.json",
    "adapter_model.safetensors",
    "chat_template.jinja",
    "tokenizer/merges.txt",
    "tokenizer.model",
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in GOOD:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_the_usual_files_may_leave_and_come_sorted(folder: Path) -> None:
    assert sorted(allowed_files(folder)) == sorted(GOOD)
    assert allowed_files(folder)[0] == "README.md"


@pytest.mark.parametrize(
    "name",
    [
        "optimizer.pt",
        "training_args.bin",
        "notes.txt",
        "a.pkl",
        "modeling.py",
        ".env",
        ".git/a.json",
        "a.JSON",
    ],
)
def test_anything_else_is_named_and_refused(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"x")
    with pytest.raises(FileNotAllowed) as caught:
        allowed_files(folder)
    assert name in str(caught.value)
    assert isinstance(caught.value, RegistryError)


def test_a_link_never_leaves(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "secret.json"
    elsewhere.write_text("{}")
    (folder / "a.json").symlink_to(elsewhere)
    with pytest.raises(FileNotAllowed, match=r"a\.json"):
        allowed_files(folder)


def test_a_linked_folder_never_leaves(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "secret.json").write_text("{}")
    (folder / "more").symlink_to(elsewhere)
    with pytest.raises(FileNotAllowed, match="more"):
        allowed_files(folder)
