"""Which checkpoint is gone on from, and which are kept: never a broken one, never without its best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.contract import (
    Fence,
    Fenced,
    FileStore,
    Manifest,
    checkpoint_key,
    checkpoint_steps,
    claim_attempt,
    commit_folder,
)
from orchestrator.trainer.checkpoints import choose, prune


@pytest.fixture
def run(tmp_path: Path) -> FileStore:
    store = FileStore(tmp_path / "run")
    claim_attempt(store, 1, host="here", pid=1, now=0.0)
    return store


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


def save(run: FileStore, step: int, **facts: Any) -> None:
    folder = run.root.parent / f"saved-{step}"
    folder.mkdir()
    (folder / "optimizer.pt").write_bytes(b"moments" * step)
    (folder / "trainer_state.json").write_text("{}")
    commit_folder(run, folder, checkpoint_key(step), Manifest("checkpoint", (), step=step, facts=facts))


def path(run: FileStore, step: int, name: str) -> Path:
    return run.root / checkpoint_key(step) / name


def test_newest_whole_checkpoint_is_fetched_and_nothing_else(run: FileStore, output: Path) -> None:
    for step in (5, 10, 15):
        save(run, step, evaluation_due=step == 15)
    chosen = choose(run, output, Fence(run, 1), print)
    assert chosen is not None
    assert (chosen.step, chosen.evaluation_due) == (15, True)
    assert [folder.name for folder in output.iterdir()] == ["checkpoint-15"]
    assert (output / "checkpoint-15/optimizer.pt").read_bytes() == b"moments" * 15
    assert checkpoint_steps(run) == [15, 10, 5]


def test_no_checkpoint_means_a_fresh_start(run: FileStore, output: Path) -> None:
    assert choose(run, output, Fence(run, 1), print) is None


def test_a_checkpoint_without_manifest_is_passed_over_and_removed(run: FileStore, output: Path) -> None:
    save(run, 5)
    save(run, 10)
    path(run, 10, "MANIFEST.json").unlink()
    said: list[str] = []
    chosen = choose(run, output, Fence(run, 1), said.append)
    assert chosen is not None
    assert chosen.step == 5
    assert checkpoint_steps(run) == [5]
    assert said[0].startswith("Checkpoint 10 is not whole")


@pytest.mark.parametrize("damage", [b"", b"moments" * 9 + b"momentz"])
def test_a_file_with_other_bytes_is_found(run: FileStore, output: Path, damage: bytes) -> None:
    save(run, 5)
    save(run, 10)
    path(run, 10, "optimizer.pt").write_bytes(damage)
    chosen = choose(run, output, Fence(run, 1), print)
    assert chosen is not None
    assert chosen.step == 5
    assert [folder.name for folder in output.iterdir()] == ["checkpoint-5"]


def test_the_best_comes_along(run: FileStore, output: Path) -> None:
    save(run, 5)
    save(run, 10, best_step=5)
    save(run, 15, best_step=5)
    chosen = choose(run, output, Fence(run, 1), print)
    assert chosen is not None
    assert chosen.step == 15
    assert sorted(folder.name for folder in output.iterdir()) == ["checkpoint-15", "checkpoint-5"]


def test_without_its_best_a_checkpoint_does_not_count(run: FileStore, output: Path) -> None:
    save(run, 5, best_step=5)
    save(run, 10, best_step=10)
    save(run, 15, best_step=10)
    path(run, 10, "optimizer.pt").unlink()
    chosen = choose(run, output, Fence(run, 1), print)
    assert chosen is not None
    assert chosen.step == 5
    assert checkpoint_steps(run) == [5]
    assert [folder.name for folder in output.iterdir()] == ["checkpoint-5"]


def test_a_fenced_attempt_removes_nothing(run: FileStore, output: Path) -> None:
    save(run, 5)
    path(run, 5, "MANIFEST.json").unlink()
    claim_attempt(run, 1, host="there", pid=2, now=1.0)
    with pytest.raises(Fenced):
        choose(run, output, Fence(run, 1), print)
    assert checkpoint_steps(run) == [5]


@pytest.mark.parametrize(
    ("keep", "best", "left"),
    [(2, None, [20, 15]), (2, 5, [20, 15, 5]), (1, 20, [20]), (0, None, [20]), (9, None, [20, 15, 10, 5])],
)
def test_pruning_keeps_the_newest_and_the_best(
    run: FileStore, keep: int, best: int | None, left: list[int]
) -> None:
    for step in (5, 10, 15, 20):
        save(run, step)
    removed = prune(run, keep, best)
    assert checkpoint_steps(run) == left
    assert sorted(removed + left) == [5, 10, 15, 20]
