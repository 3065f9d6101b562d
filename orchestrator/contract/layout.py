"""The names of things in storage."""

from __future__ import annotations

import re

from orchestrator.contract.opening import open_store
from orchestrator.contract.store import Store

ADAPTER = "adapter"
CHECKPOINTS = "checkpoints"
DISCARD = "discard"  # an object of a run's folder: whoever is told to leave saves nothing first

_CHECKPOINT = re.compile(rf"^{CHECKPOINTS}/checkpoint-(\d+)/")


def model_key(digest: str) -> str:
    return f"models/{digest}"


def dataset_key(digest: str) -> str:
    return f"datasets/{digest}"


def adapter_key(digest: str) -> str:
    """An adapter from outside the runs, to go on from."""
    return f"adapters/{digest}"


def run_key(run: str) -> str:
    return f"runs/{run}"


def storage_of(run_url: str) -> str:
    """The URL of the storage that the run at a URL lies in."""
    return run_url.rstrip("/").rsplit("/", 2)[0]


def open_run(storage: str, run: str) -> Store:
    """The folder of a run, in the storage at a URL."""
    return open_store(storage).below(run_key(run))


def launch_key(launch: int) -> str:
    return f"launches/{launch}"


def attempt_key(attempt: int) -> str:
    return f"attempts/{attempt}"


def checkpoint_key(step: int) -> str:
    return f"{CHECKPOINTS}/checkpoint-{step}"


def checkpoint_steps(run: Store) -> list[int]:
    """Steps that have a checkpoint folder of any state, newest first."""
    found = {int(match[1]) for key in run.keys(CHECKPOINTS) if (match := _CHECKPOINT.match(key))}
    return sorted(found, reverse=True)
