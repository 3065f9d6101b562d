"""Room: how much of storage runs take, and whether the disks of the service have any left."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

from orchestrator import contract
from orchestrator.controller.of_run import run_store
from orchestrator.db import Database, Run
from orchestrator.machines import GIB
from orchestrator.settings import Settings

SWEEP_SECONDS = 30.0
AGAIN_SECONDS = 60.0
BATCH = 50


def full_disk(settings: Settings, storage: str) -> str | None:
    """Which disk of the service has too little left to take on anything new, said to a person."""
    places = {"home": settings.home}
    if (url := urlparse(storage)).scheme == "file":
        places["storage"] = Path(unquote(url.path))
    for what, place in places.items():
        there = next(folder for folder in (place, *place.parents) if folder.exists())
        if shutil.disk_usage(there).free < settings.free_bytes:
            return f"less than {settings.free_bytes / GIB:g} GiB is free on the disk of the service's {what}"
    return None


@dataclass(frozen=True)
class Measuring:
    """Measures what datasets take, and runs where projects have a quota; `clock` gives seconds since 1970."""

    settings: Settings
    database: Database
    clock: Callable[[], float]

    def turn(self) -> float:
        """Measure new datasets, and some of the runs that may have changed; seconds until the next."""
        self._measure_datasets()
        if self.settings.stored_bytes is None:
            return AGAIN_SECONDS
        now = self.clock()
        runs = self.database.to_measure(now - AGAIN_SECONDS, BATCH)
        for run in runs:
            try:
                stored = stored_bytes(run)
            except (OSError, contract.ContractError):  # its storage is away: as it was, until the next time
                stored = run.stored
            self.database.measured(run.id, stored, now)
        return 0.0 if len(runs) == BATCH else SWEEP_SECONDS

    def _measure_datasets(self) -> None:
        """What cannot be read now is left until the next time; what is gone takes nothing."""
        for dataset in self.database.unmeasured_datasets(BATCH):
            with suppress(OSError, contract.ContractError):
                store = contract.open_store(dataset.storage)
                manifest = contract.read_manifest(store, contract.dataset_key(dataset.digest))
                self.database.measured_dataset(dataset, manifest.size if manifest else 0)


def stored_bytes(run: Run) -> int:
    """The bytes of a run's whole checkpoints and its adapter, as their manifests say; all else is small."""
    store = run_store(run)
    folders = [contract.ADAPTER, *map(contract.checkpoint_key, contract.checkpoint_steps(store))]
    manifests = (contract.read_manifest(store, folder) for folder in folders)
    return sum(manifest.size for manifest in manifests if manifest)
