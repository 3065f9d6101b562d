"""Folders that are to go from storage: removed at once by whoever made them useless, and by the leader what
was left of that by a crash, or by a storage that was away."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from orchestrator import contract
from orchestrator.db import Database, Removal

SWEEP_SECONDS = 2.0
AWAY_SECONDS = 60.0

_FAILURES = (OSError, contract.ContractError, RecursionError)  # folders may be nested without end
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Removals:
    """Removes what the database notes, each folder as often as it takes; `clock` gives seconds since 1970."""

    database: Database
    clock: Callable[[], float]

    def turn(self) -> float:
        """One look at what is to go; seconds until the next."""
        left = [removal for removal in self.database.removals() if not self.one(removal)]
        return AWAY_SECONDS if left else SWEEP_SECONDS

    def one(self, removal: Removal) -> bool:
        """Remove a folder; False where storage cannot now."""
        self.database.check_lease()
        try:
            remove(contract.open_store(removal.storage), removal.folder)
        except _FAILURES as error:
            _log.warning("%s of %s cannot be removed yet: %s", removal.folder, removal.storage, error)
            return False
        self.database.removed(removal, self.clock())
        return True


def remove(store: contract.Store, folder: str) -> None:
    """Remove a folder and, where it lies on a disk, all that counts for nothing: unfinished files, empty
    folders, and links that code of a model left there, none of which is followed."""
    local = store.local(folder)
    if local is None:
        contract.remove_folder(store, folder)
        return
    for name in ("", f"{contract.ADAPTER}/"):
        with suppress(contract.ContractError):  # a link, which goes with the rest
            store.delete(f"{folder}/{name}{contract.MANIFEST}")
    with suppress(FileNotFoundError):
        shutil.rmtree(local)
