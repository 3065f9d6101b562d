"""Checkpoints in storage: which one to go on from, and which ones to keep."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.contract import (
    ContractError,
    Fence,
    Manifest,
    Store,
    checkpoint_key,
    checkpoint_steps,
    fetch_folder,
    remove_folder,
)

Report = Callable[[str], None]


@dataclass(frozen=True)
class Chosen:
    """The checkpoint to go on from, and its manifest."""

    step: int
    manifest: Manifest

    @property
    def evaluation_due(self) -> bool:
        """The evaluation of this step was skipped by the stop that wrote the checkpoint."""
        return bool(self.manifest.facts.get("evaluation_due"))

    @property
    def devices(self) -> int:
        """How many devices trained up to here."""
        return int(self.manifest.facts.get("devices", 1))


def choose(run: Store, output: Path, fence: Fence, report: Report) -> Chosen | None:
    """Fetch the newest whole checkpoint into `output`, with the best one it names.

    Every byte is checked against the manifest. A checkpoint that is not whole, or whose best is not,
    is passed over: without its best, the last model would be taken for it silently. The broken ones
    and all above the chosen one are removed from storage, so that nothing mixes with what is trained
    from here on.
    """
    steps = checkpoint_steps(run)
    whole: dict[int, Manifest | None] = {}
    chosen = None
    for step in steps:
        manifest = _fetched(run, step, output, whole, report)
        best = best_step(manifest) if manifest else None
        if manifest and (best is None or _fetched(run, best, output, whole, report)):
            chosen = Chosen(step, manifest)
            break
    _remove(
        run,
        fence,
        [step for step in steps if (chosen is None or step > chosen.step) or whole.get(step, 1) is None],
    )
    _keep_only(output, {chosen.step, best_step(chosen.manifest)} if chosen else set())
    return chosen


def best_step(manifest: Manifest) -> int | None:
    """The step of the best checkpoint so far, as the checkpoint's manifest names it."""
    step = manifest.facts.get("best_step")
    return int(step) if step else None


def prune(run: Store, keep: int, best: int | None) -> list[int]:
    """Remove all but the `keep` newest checkpoints and the best; the steps removed."""
    steps = checkpoint_steps(run)
    old = [step for step in steps[max(keep, 1) :] if step != best]
    for step in old:
        remove_folder(run, checkpoint_key(step))
    return old


def _fetched(
    run: Store, step: int, output: Path, whole: dict[int, Manifest | None], report: Report
) -> Manifest | None:
    if step not in whole:
        whole[step] = _fetch(run, step, output, report)
    return whole[step]


def _fetch(run: Store, step: int, output: Path, report: Report) -> Manifest | None:
    target = output / f"checkpoint-{step}"
    try:
        return fetch_folder(run, checkpoint_key(step), target)
    except ContractError as error:
        report(f"Checkpoint {step} is not whole and is passed over: {error}.")
        shutil.rmtree(target, ignore_errors=True)
        return None


def _remove(run: Store, fence: Fence, steps: list[int]) -> None:
    for step in steps:
        fence.check()
        remove_folder(run, checkpoint_key(step))


def _keep_only(output: Path, steps: set[int | None]) -> None:
    """Axolotl and the rotation in transformers count every `checkpoint-*` they see: leave no other."""
    names = {f"checkpoint-{step}" for step in steps}
    for folder in output.glob("checkpoint-*"):
        if folder.name not in names:
            shutil.rmtree(folder)
