"""What a cancelled run leaves: the adapter of one of its checkpoints, made as that of a finished run is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestrator import contract
from orchestrator.contract import ADAPTER, Manifest, checkpoint_key, read_manifest
from orchestrator.contract.adapter import gather_adapter, may_leave
from orchestrator.runs import Keep


def keep_of(store: contract.Store, keep: Keep, base_model: str | None, total_steps: int | None) -> str:
    """Keep what the user wants of a run that nobody trains any more; the sentence that tells it.

    `base_model` is what the adapter shall say of its base, `total_steps` what was to be trained.

    A checkpoint that is not whole is passed over for the newest older one. Doing it twice is the same.
    """
    if read_manifest(store, ADAPTER) is not None:
        return "Its adapter is finished, and stays: `axo pull` fetches it."
    steps = contract.checkpoint_steps(store)
    if keep is Keep.NONE:
        return "Nothing of it is kept as an adapter."
    for step, which in _wanted(store, steps, keep):
        if _keep(store, step, {"kept": which, "base_model": base_model, "total_steps": total_steps}):
            return f"The adapter of step {step}, its {which} checkpoint, is kept: `axo pull` fetches it."
    return "It had no whole checkpoint to keep an adapter of."


def _wanted(store: contract.Store, steps: Sequence[int], keep: Keep) -> Iterator[tuple[int, str]]:
    """The steps to try: the best, as the newest checkpoint that knows one names it, then newest first."""
    if keep is Keep.BEST:
        manifests = (read_manifest(store, checkpoint_key(step)) for step in steps)
        best = next((int(m.facts["best_step"]) for m in manifests if m and m.facts.get("best_step")), None)
        if best is not None and best in steps:
            yield best, "best"
    yield from ((step, "last") for step in steps)


def _keep(store: contract.Store, step: int, facts: Mapping[str, Any]) -> bool:
    """Commit the adapter of a checkpoint; False where that is not whole, or holds none, or where something
    else than a folder stands in the adapter's place."""
    with tempfile.TemporaryDirectory(prefix="axo-keep-") as scratch:
        fetched, staged = Path(scratch) / "checkpoint", Path(scratch) / ADAPTER
        try:
            found = contract.fetch_folder(store, checkpoint_key(step), fetched, may_leave)
            gather_adapter(fetched, staged, facts["base_model"])
        except (contract.ContractError, FileNotFoundError, ValueError):
            return False
        adapter = Manifest("adapter", (), step=step, attempt=found.attempt, record=found.record, facts=facts)
        with suppress(contract.ContractError, FileExistsError, NotADirectoryError, IsADirectoryError):
            contract.commit_folder(store, staged, ADAPTER, adapter)
            return True
    return False
