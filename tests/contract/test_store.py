"""What every store promises."""

from __future__ import annotations

import hashlib
import multiprocessing
from pathlib import Path

import pytest

from orchestrator.contract import ContractError, Store, open_store, prove_store


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


def test_sizes_are_told_by_key(store: Store) -> None:
    store.write("b/2", b"four")
    store.write("b/1", b"")
    assert list(store.sizes("b").items()) == [("b/1", 0), ("b/2", 4)]


def test_a_store_that_keeps_its_promises_is_proven(store: Store) -> None:
    prove_store(store)
    assert store.keys() == []


def test_an_unknown_kind_of_url_is_refused() -> None:
    with pytest.raises(ContractError, match="gopher"):
        open_store("gopher://somewhere/x")
