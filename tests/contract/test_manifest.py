"""A folder counts only when it is whole."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from orchestrator.contract import (
    MANIFEST,
    ContractError,
    Fence,
    Fenced,
    Manifest,
    Store,
    checkpoint_key,
    checkpoint_steps,
    claim_attempt,
    commit_folder,
    fetch_folder,
    read_manifest,
    share_folder,
    verify_folder,
)

CHECKPOINT = Manifest(kind="checkpoint", files=(), step=10, attempt=1, record=120, facts={"epoch": 1.5})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "made" / "sub").mkdir(parents=True)
    (tmp_path / "made" / "model.safetensors").write_bytes(b"\0" * 5_000_000)
    (tmp_path / "made" / "sub" / "state.json").write_text("{}")
    return tmp_path / "made"


def test_a_committed_folder_comes_back_the_same(store: Store, folder: Path, tmp_path: Path) -> None:
    committed = commit_folder(store, folder, "checkpoints/checkpoint-10", CHECKPOINT)
    fetched = fetch_folder(store, "checkpoints/checkpoint-10", tmp_path / "out")
    assert fetched == committed == read_manifest(store, "checkpoints/checkpoint-10")
    assert (fetched.step, fetched.attempt, fetched.record, fetched.facts) == (10, 1, 120, {"epoch": 1.5})
    assert (tmp_path / "out" / "sub" / "state.json").read_text() == "{}"
    assert verify_folder(store, "checkpoints/checkpoint-10") == []


def test_the_digest_is_that_of_sha256sums_lines(store: Store, folder: Path) -> None:
    manifest = commit_folder(store, folder, "x", CHECKPOINT)
    lines = "".join(f"{file.sha256}  {file.path}\n" for file in manifest.files)
    assert manifest.digest == hashlib.sha256(lines.encode()).hexdigest()
    assert manifest.size == 5_000_002


def test_without_its_manifest_a_folder_is_nothing(store: Store, folder: Path, tmp_path: Path) -> None:
    commit_folder(store, folder, "x", CHECKPOINT)
    store.delete(f"x/{MANIFEST}")
    assert read_manifest(store, "x") is None
    with pytest.raises(ContractError, match="no true manifest"):
        fetch_folder(store, "x", tmp_path / "out")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda store: store.write("x/model.safetensors", b"\0" * 4_999_999), "has 4999999 bytes"),
        (lambda store: store.write("x/model.safetensors", b"\1" * 5_000_000), "other content"),
        (lambda store: store.delete("x/sub/state.json"), "is missing"),
    ],
    ids=["truncated", "changed", "lost"],
)
def test_damage_is_told_and_never_fetched(
    store: Store, folder: Path, tmp_path: Path, damage: object, told: str
) -> None:
    commit_folder(store, folder, "x", CHECKPOINT)
    damage(store)  # type: ignore[operator]
    assert told in verify_folder(store, "x")[0]
    with pytest.raises(ContractError):
        fetch_folder(store, "x", tmp_path / "out")


def test_a_manifest_that_lies_about_its_files_is_none(store: Store, folder: Path) -> None:
    commit_folder(store, folder, "x", CHECKPOINT)
    raw = json.loads(store.read(f"x/{MANIFEST}"))
    raw["files"][0]["sha256"] = "0" * 64
    store.write(f"x/{MANIFEST}", json.dumps(raw).encode())
    assert read_manifest(store, "x") is None


@pytest.mark.parametrize("path", ["../other/adapter.json", "/etc/passwd", "a/../../b", 7])
def test_a_manifest_that_names_files_outside_its_folder_is_none(path: object) -> None:
    text = json.dumps({"kind": "adapter", "files": [{"path": path, "size": 1, "sha256": "0" * 64}]})
    with pytest.raises(ContractError, match=r"not a (storage key|manifest)"):
        Manifest.from_json(text.encode())


def test_committing_again_leaves_nothing_of_the_first(store: Store, folder: Path) -> None:
    store.write("x/optimizer.pt.half", b"junk")
    commit_folder(store, folder, "x", CHECKPOINT)
    assert "x/optimizer.pt.half" not in store.keys("x")


def test_a_fenced_attempt_commits_nothing(store: Store, folder: Path) -> None:
    first = claim_attempt(store, 1, host="a", pid=1, now=1.0)
    claim_attempt(store, 1, host="b", pid=2, now=2.0)
    with pytest.raises(Fenced, match="attempt 2 owns the run"):
        commit_folder(store, folder, "x", CHECKPOINT, Fence(store, first.attempt))
    assert store.keys("x") == []


class Rival:
    """An attempt that is fenced once it is asked for the third time: before its second file, when a later
    attempt has committed its own folder."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.store, self.folder, self.asked = store, folder, 0

    def check(self) -> None:
        self.asked += 1
        if self.asked == 3:
            commit_folder(self.store, self.folder, "x", CHECKPOINT)
            raise Fenced("a later attempt owns the run")


def test_a_fenced_attempt_writes_over_no_file_of_a_later_one(
    store: Store, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "older").mkdir()
    for name in ("a.json", "model.safetensors"):
        (tmp_path / "older" / name).write_text("older")
    with pytest.raises(Fenced):
        commit_folder(store, tmp_path / "older", "x", CHECKPOINT, Rival(store, folder))
    assert verify_folder(store, "x") == []


class Sleeper:
    """An attempt that falls asleep just after it was asked for the nth time and was found to own the run: a
    later one commits its own folder meanwhile."""

    def __init__(self, store: Store, folder: Path, nth: int) -> None:
        self.store, self.folder, self.left = store, folder, nth

    def check(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Fenced("a later attempt owns the run")
        if self.left == 0:
            commit_folder(self.store, self.folder, "x", CHECKPOINT)


@pytest.mark.parametrize("asleep", ["before it begins", "at a file", "at the last file", "at the manifest"])
def test_an_attempt_that_wakes_up_changes_no_file_of_a_later_one(
    store: Store, folder: Path, tmp_path: Path, asleep: str
) -> None:
    (tmp_path / "older").mkdir()
    for name in ("a.json", "model.safetensors"):
        (tmp_path / "older" / name).write_text("older")
    nth = ["before it begins", "at a file", "at the last file", "at the manifest"].index(asleep) + 1
    with pytest.raises(Fenced):
        commit_folder(store, tmp_path / "older", "x", CHECKPOINT, Sleeper(store, folder, nth))
    assert verify_folder(store, "x") == []
    assert store.read("x/sub/state.json") == b"{}"


class Disturbed:
    """An attempt that owns the run, and whose folder an earlier one writes to whenever it may."""

    def __init__(self, store: Store) -> None:
        self.store, self.left = store, 3

    def check(self) -> None:
        if self.left:
            self.left -= 1
            self.store.write("x/model.safetensors", b"older")
            self.store.write(f"x/{MANIFEST}", b"older")


def test_what_a_fenced_attempt_leaves_behind_gives_way(store: Store, folder: Path) -> None:
    commit_folder(store, folder, "x", CHECKPOINT, Disturbed(store))
    assert verify_folder(store, "x") == []


def test_an_attempt_fenced_while_it_copies_writes_no_manifest(store: Store, folder: Path) -> None:
    first = claim_attempt(store, 1, host="a", pid=1, now=1.0)

    class TakenOverBetween(Fence):
        asked = 0

        def check(self) -> None:
            object.__setattr__(self, "asked", self.asked + 1)
            if self.asked == 4:  # before anything, before each of two files, before the manifest
                claim_attempt(store, 2, host="b", pid=2, now=2.0)
            super().check()

    with pytest.raises(Fenced):
        commit_folder(store, folder, "x", CHECKPOINT, TakenOverBetween(store, first.attempt))
    assert read_manifest(store, "x") is None


def test_checkpoints_are_listed_newest_first_whole_or_not(store: Store, folder: Path) -> None:
    for step in (9, 100, 20):
        commit_folder(store, folder, checkpoint_key(step), CHECKPOINT)
    store.delete(f"{checkpoint_key(100)}/{MANIFEST}")
    assert checkpoint_steps(store) == [100, 20, 9]


def test_writers_of_one_content_do_not_disturb_each_other(store: Store, folder: Path, tmp_path: Path) -> None:
    """Two runs stage the same model: the second keeps what the first may be reading."""
    model = Manifest(kind="model", files=())
    first = share_folder(store, folder, "models/x", model)
    (folder / "sub" / "state.json").write_text('{"told": "otherwise"}')
    assert share_folder(store, folder, "models/x", model) == first
    assert store.read("models/x/sub/state.json") == b"{}"
    assert verify_folder(store, "models/x") == []


def test_a_shared_commit_that_was_cut_off_is_finished_by_the_next(store: Store, folder: Path) -> None:
    share_folder(store, folder, "models/x", Manifest(kind="model", files=()))
    store.delete(f"models/x/{MANIFEST}")
    store.delete("models/x/sub/state.json")
    share_folder(store, folder, "models/x", Manifest(kind="model", files=()))
    assert verify_folder(store, "models/x") == []
