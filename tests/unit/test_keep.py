"""What a cancelled run leaves: the adapter that was asked for, made of a whole checkpoint, or none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlparse

import pytest
from memory_world import PREPARED, World, memory_world

from orchestrator import contract
from orchestrator.contract import ADAPTER, Cause, FileStore, Manifest, Result, checkpoint_key
from orchestrator.contract.store import Store
from orchestrator.controller import keep as keeping
from orchestrator.controller.keep import keep_of
from orchestrator.controller.of_run import run_store
from orchestrator.reasons import Reason
from orchestrator.runs import Intent, Keep, Observation, Phase, Status


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with memory_world(tmp_path) as made:
        yield made


def checkpoint(store: Store, step: int, scratch: Path, best: int | None = None, adapter: bool = True) -> None:
    """A checkpoint as training commits it, whose weights are its step."""
    folder = scratch / f"made-{step}"
    folder.mkdir()
    (folder / "optimizer.pt").write_bytes(b"\0" * 100)
    (folder / "trainer_state.json").write_text("{}")
    if adapter:
        (folder / "adapter_model.safetensors").write_bytes(bytes([step]))
        (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "/scratch/model"}')
    manifest = Manifest("checkpoint", (), step=step, facts={"best_step": best})
    contract.commit_folder(store, folder, checkpoint_key(step), manifest)


def kept(store: Store) -> int | None:
    """The step of the kept adapter, as its weights say."""
    return (
        store.read(f"{ADAPTER}/adapter_model.safetensors")[0] if ADAPTER in str(store.keys(ADAPTER)) else None
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return FileStore(tmp_path / "run")


def test_the_last_or_the_best_one_is_kept_without_its_optimizer(store: Store, tmp_path: Path) -> None:
    for step, best in ((3, 3), (6, 6), (9, 6)):
        checkpoint(store, step, tmp_path, best)
    assert "step 9, its last" in keep_of(store, Keep.LAST, "org/base", 12)
    assert kept(store) == 9
    contract.remove_folder(store, ADAPTER)
    assert "step 6, its best" in keep_of(store, Keep.BEST, "org/base", 12)
    assert kept(store) == 6
    manifest = contract.read_manifest(store, ADAPTER)
    assert manifest is not None
    assert {file.path for file in manifest.files} == {"adapter_model.safetensors", "adapter_config.json"}
    assert (manifest.step, manifest.facts) == (
        6,
        {"kept": "best", "base_model": "org/base", "total_steps": 12},
    )
    config = json.loads(store.read(f"{ADAPTER}/adapter_config.json"))
    assert config["base_model_name_or_path"] == "org/base"


def test_what_is_not_whole_or_no_adapter_is_passed_over(store: Store, tmp_path: Path) -> None:
    checkpoint(store, 3, tmp_path)
    checkpoint(store, 6, tmp_path, best=6)
    checkpoint(store, 9, tmp_path, best=6, adapter=False)
    store.write("checkpoints/checkpoint-6/adapter_model.safetensors", b"cut")
    store.write("checkpoints/checkpoint-12/adapter_model.safetensors", b"no manifest")
    assert "step 3, its last" in keep_of(store, Keep.BEST, "org/base", 12)
    assert kept(store) == 3


def test_a_finished_adapter_stays_and_none_makes_none(store: Store, tmp_path: Path) -> None:
    assert "no whole checkpoint" in keep_of(store, Keep.LAST, "org/base", None)
    checkpoint(store, 3, tmp_path)
    assert "Nothing" in keep_of(store, Keep.NONE, "org/base", None)
    assert kept(store) is None
    assert contract.checkpoint_steps(store) == [3], "throwing away is another wish"
    keep_of(store, Keep.LAST, "org/base", None)
    checkpoint(store, 6, tmp_path)
    assert "finished, and stays" in keep_of(store, Keep.LAST, "org/base", None)
    assert kept(store) == 3


@pytest.mark.parametrize("keep", list(Keep))
def test_a_cancelled_run_ends_with_what_was_wanted_of_it(world: World, tmp_path: Path, keep: Keep) -> None:
    training(world)
    store = run_store(world.run)
    checkpoint(store, 3, tmp_path, best=3)
    checkpoint(store, 6, tmp_path, best=3)
    world.database.set_intent(world.run_id, Intent.CANCEL, 5.0, keep)
    assert world.passes().reason is Reason.STOPPING
    there = store.keys()
    assert (contract.DISCARD in there) == (keep is Keep.NONE), "whoever trains leaves at once then"
    world.end(2, Result.INTERRUPTED, Cause.STOPPED)
    run = world.passes()
    assert (run.status, run.reason) == (Status.CANCELLED, Reason.BY_USER)
    assert kept(store) == {Keep.BEST: 3, Keep.LAST: 6, Keep.NONE: None}[keep]
    assert ("axo pull" in run.message) == (keep is not Keep.NONE)


def test_a_death_while_it_is_kept_is_made_good_by_the_next_pass(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training(world)
    store = run_store(world.run)
    checkpoint(store, 3, tmp_path)
    world.database.set_intent(world.run_id, Intent.CANCEL, 5.0, Keep.LAST)
    world.end(2, Result.INTERRUPTED, Cause.STOPPED)

    def away(*_: object) -> None:
        raise OSError("storage is away")

    with monkeypatch.context() as broken:
        broken.setattr(keeping.contract, "commit_folder", away)
        with pytest.raises(OSError, match="away"):
            world.passes()
        assert not world.run.status.final
    assert world.passes().status is Status.CANCELLED
    assert kept(store) == 3


@pytest.mark.parametrize("place", ["adapter", "adapter/adapter_config.json", "attempts"])
def test_links_that_code_of_a_model_left_keep_no_run_from_its_end(
    world: World, tmp_path: Path, place: str
) -> None:
    store = checkpointed(world, tmp_path)
    folder = Path(urlparse(store.url).path)
    (folder / place).parent.mkdir(exist_ok=True)
    if place == "attempts":
        (folder / place).rename(folder / "elsewhere")
    (folder / place).symlink_to(tmp_path)
    assert cancelled(world)
    assert kept(store) == (None if place == "adapter" else 3)
    assert tmp_path.is_dir()


@pytest.mark.parametrize("place", ["adapter", "adapter/MANIFEST.json/x"])
def test_what_stands_in_the_adapters_place_keeps_no_run_from_its_end(
    world: World, tmp_path: Path, place: str
) -> None:
    store = checkpointed(world, tmp_path)
    store.write(place, b"x")
    assert cancelled(world)
    assert contract.read_manifest(store, ADAPTER) is None


def training(world: World) -> None:
    world.passes()
    world.end(1, Result.SUCCESS, **PREPARED)
    world.passes()


def checkpointed(world: World, folder: Path) -> Store:
    """What a run stores that trains and has a checkpoint."""
    training(world)
    store = run_store(world.run)
    checkpoint(store, 3, folder)
    return store


def cancelled(world: World) -> bool:
    """Whether it ends once it is to keep its last checkpoint, and its launch is gone."""
    world.database.set_intent(world.run_id, Intent.CANCEL, 5.0, Keep.LAST)
    world.backend.phases[f"{world.run_id}-2"] = Observation(Phase.ENDED, 1)
    return world.passes().status is Status.CANCELLED
