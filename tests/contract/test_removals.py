"""A folder that is to go, in every kind of store."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.contract import ContractError, FileStore, Store
from orchestrator.controller.removals import remove


def test_a_folder_goes_and_its_neighbours_stay(store: Store) -> None:
    for key in ("runs/a/adapter/MANIFEST.json", "runs/a/adapter/w", "runs/a/spec.yaml", "runs/ab/spec.yaml"):
        store.write(key, b"x")
    remove(store, "runs/a")
    assert store.keys() == ["runs/ab/spec.yaml"]
    remove(store, "runs/a")


def test_links_that_were_left_in_it_are_removed_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    store = FileStore(tmp_path / "store")
    store.write("runs/a/spec.yaml", b"x")
    (tmp_path / "store/runs/a/file").symlink_to(outside / "precious")
    (tmp_path / "store/runs/a/folder").symlink_to(outside)
    (tmp_path / "store/runs/a/checkpoints").mkdir()
    (tmp_path / "store/runs/a/checkpoints/up").symlink_to("../../..")
    remove(store, "runs/a")
    assert not (tmp_path / "store/runs/a").exists()
    assert (outside / "precious").exists()


@pytest.mark.parametrize("folder", ["adapter", "checkpoints"])
def test_the_adapter_that_a_link_leads_to_stays_whole(tmp_path: Path, folder: str) -> None:
    store = FileStore(tmp_path)
    for key in ("runs/a/spec.yaml", f"runs/b/{folder}/MANIFEST.json", f"runs/b/{folder}/weights"):
        store.write(key, b"x")
    (tmp_path / "runs/a" / folder).symlink_to(f"../b/{folder}")
    remove(store, "runs/a")
    assert store.keys() == [f"runs/b/{folder}/MANIFEST.json", f"runs/b/{folder}/weights"]
    assert not (tmp_path / "runs/a").exists()


@pytest.mark.parametrize("folder", ["..", "runs/../..", "/"])
def test_no_folder_beyond_the_store_is_removed(tmp_path: Path, folder: str) -> None:
    store = FileStore(tmp_path / "store")
    store.write("a", b"x")
    with pytest.raises(ContractError, match="key"):
        remove(store, folder)
    assert store.keys() == ["a"]
