"""What every store promises."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import subprocess
from pathlib import Path

import pytest

from orchestrator import contract
from orchestrator.contract import ContractError, FileStore, Store, open_store, prove_store
from orchestrator.contract.store import READ_BYTES


def test_read_gives_what_was_written_last(store: Store) -> None:
    store.write("a/b.txt", b"one")
    store.write("a/b.txt", b"two")
    assert store.read("a/b.txt") == b"two"


def test_a_missing_key_is_not_found(store: Store) -> None:
    with pytest.raises(FileNotFoundError):
        store.read("no/such")


def test_create_is_exclusive(store: Store) -> None:
    assert store.create("claim", b"mine")
    assert not store.create("claim", b"theirs")
    assert store.read("claim") == b"mine"


def _create(url: str, name: int, won: multiprocessing.Queue[int]) -> None:
    if open_store(url).create("claim", str(name).encode()):
        won.put(name)


def test_create_has_one_winner_among_processes(store: Store) -> None:
    context = multiprocessing.get_context("fork")
    won: multiprocessing.Queue[int] = context.Queue()
    racers = [context.Process(target=_create, args=(store.url, name, won)) for name in range(8)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    winner = won.get(timeout=5)
    assert won.empty()
    assert store.read("claim") == str(winner).encode()


def test_keys_are_sorted_and_below_the_prefix_only(store: Store) -> None:
    for key in ("b/2", "b/1", "a", "bb/3"):
        store.write(key, b"")
    assert store.keys("b") == ["b/1", "b/2"]
    assert store.keys() == ["a", "b/1", "b/2", "bb/3"]
    assert store.keys("none") == []


def test_deleting_twice_is_fine(store: Store) -> None:
    store.write("a/b", b"x")
    store.delete("a/b")
    store.delete("a/b")
    assert store.keys() == []


def test_put_and_get_tell_size_and_digest(store: Store, tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000
    (tmp_path / "in").write_bytes(content)
    put = store.put(tmp_path / "in", "deep/er/file.bin")
    got = store.get("deep/er/file.bin", tmp_path / "new" / "out")
    assert put == got
    assert (put.size, put.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert (tmp_path / "new" / "out").read_bytes() == content


def test_what_is_put_writes_over_nothing(store: Store, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
    put = store.put(tmp_path / "one", "file")
    with pytest.raises(FileExistsError):
        store.put(tmp_path / "two", "file")
    assert store.put(tmp_path / "two", "file", keep=True) == put
    assert store.read("file") == b"one"


def test_below_is_the_same_store_under_a_prefix(store: Store) -> None:
    store.below("runs/r").write("spec.yaml", b"x")
    assert store.read("runs/r/spec.yaml") == b"x"
    assert open_store(store.below("runs/r").url).keys() == ["spec.yaml"]


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", "a//b", "a/../b", "", "./a"])
def test_keys_never_leave_the_store(store: Store, key: str) -> None:
    with pytest.raises(ContractError, match="not a storage key"):
        store.write(key, b"")


def test_reading_begins_where_one_says(store: Store) -> None:
    store.write("a", bytes(range(100)))
    assert store.read("a", 90) == bytes(range(90, 100))
    assert store.read("a", 100) == store.read("a", 500) == b""
    assert b"".join(store.blocks("a", 10, 20)) == bytes(range(10, 20))
    assert b"".join(store.blocks("a", 95, 200)) == bytes(range(95, 100))
    store.write("empty", b"")
    assert store.read("empty") == b""


def test_what_nobody_could_hold_is_not_read_at_once(store: Store) -> None:
    store.write("most", b"\0" * READ_BYTES)
    assert len(store.read("most")) == READ_BYTES
    store.write("more", b"\0" * (READ_BYTES + 1))
    with pytest.raises(ContractError, match="more than 32 MiB at more"):
        store.read("more")
    assert store.read("more", READ_BYTES) == b"\0"
    assert sum(map(len, store.blocks("more"))) == READ_BYTES + 1


def test_sizes_are_told_by_key(store: Store) -> None:
    store.write("b/2", b"four")
    store.write("b/1", b"")
    assert list(store.sizes("b").items()) == [("b/1", 0), ("b/2", 4)]


def test_a_store_that_keeps_its_promises_is_proven(store: Store) -> None:
    prove_store(store)
    assert store.keys() == []


@pytest.fixture
def trapped(tmp_path: Path) -> FileStore:
    """A run's folder after code that trained there put what it liked into it."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/key").write_text("hush")
    run = tmp_path / "run"
    (run / "attempts").mkdir(parents=True)
    (run / "link").symlink_to(tmp_path / "secrets/key")
    (run / "folder").symlink_to(tmp_path / "secrets")
    (run / "attempts/1").symlink_to(tmp_path / "secrets")
    os.mkfifo(run / "pipe")
    return FileStore(run)


def test_an_outcome_that_is_a_hole_of_a_terabyte_costs_nothing(tmp_path: Path) -> None:
    run = FileStore(tmp_path)
    run.write("attempts/1/outcome.json", b"{}")
    os.truncate(tmp_path / "attempts/1/outcome.json", 1 << 40)
    with pytest.raises(ContractError, match="more than 32 MiB"):
        run.read("attempts/1/outcome.json")
    assert contract.read_outcome(run, 1) is None


@pytest.mark.parametrize("key", ["link", "folder", "attempts", "folder/key", "attempts/1/key", "pipe"])
def test_what_is_no_file_of_the_folder_itself_is_not_read(
    trapped: FileStore, key: str, tmp_path: Path
) -> None:
    for reading in (
        lambda: trapped.read(key),
        lambda: list(trapped.blocks(key)),
        lambda: trapped.digest(key),
        lambda: trapped.get(key, tmp_path / "out"),
    ):
        with pytest.raises(ContractError, match="storage holds something else than a file at"):
            reading()


def test_what_is_listed_follows_no_link(trapped: FileStore) -> None:
    (trapped.root / "attempts/up").symlink_to("../..")
    assert list(trapped.sizes()) == ["attempts/1", "attempts/up", "folder", "link", "pipe"]


def test_folders_nested_without_end_hide_nothing_else(tmp_path: Path) -> None:
    """Paths as long as no call takes, and more folders inside each other than Python makes calls."""
    store = FileStore(tmp_path)
    store.write("attempts/1/claim.json", b"{}")
    place = os.open(tmp_path / "attempts", os.O_RDONLY)
    for name in ["d"] * 1500 + ["d" * 250] * 12 + ["end"]:
        os.mkdir(name, dir_fd=place)
        below = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)
    assert store.keys("attempts") == ["attempts/1/claim.json"]
    subprocess.run(["rm", "-rf", str(tmp_path / "attempts/d")], check=True)


def test_a_link_is_removed_as_a_file_is_and_nothing_lies_below_it(trapped: FileStore, tmp_path: Path) -> None:
    assert trapped.keys("folder") == trapped.keys("attempts/1") == []
    assert trapped.sizes("folder") == trapped.sizes("pipe") == {}
    trapped.delete("link", "folder")
    assert sorted(path.name for path in trapped.root.iterdir()) == ["attempts", "pipe"]
    assert (tmp_path / "secrets/key").read_text() == "hush"


@pytest.mark.parametrize("key", ["folder/key", "folder/new", "attempts/1/plan.json"])
def test_what_is_written_follows_no_link(trapped: FileStore, key: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("mine")
    for writing in (
        lambda: trapped.write(key, b"mine"),
        lambda: trapped.create(key, b"mine"),
        lambda: trapped.put(tmp_path / "in", key),
        lambda: trapped.delete(key),
        lambda: trapped.local(key),
    ):
        with pytest.raises(ContractError, match="storage holds a link at"):
            writing()
    assert [path.read_text() for path in (tmp_path / "secrets").iterdir()] == ["hush"]


def test_an_unknown_kind_of_url_is_refused() -> None:
    with pytest.raises(ContractError, match="gopher"):
        open_store("gopher://somewhere/x")
