"""Storage is proven before anything is put into it, once in the life of a process, and asked for room."""

from __future__ import annotations

import threading
from collections.abc import Callable

from orchestrator import contract
from orchestrator.controller.room import full_disk
from orchestrator.errors import FullError, QuotaError, StorageError, StorageRefusedError
from orchestrator.machines import GIB
from orchestrator.settings import Settings

_proven: set[str] = set()
_proving = threading.Lock()


def need_room(settings: Settings, project: str, stored: Callable[[], int], more: int = 0) -> None:
    """See that there is room for something new, of `more` bytes where that is known; `stored` tells how many
    the project takes.

    Raises:
        QuotaError: the project's runs, uploads and datasets take what they may.
        FullError: a disk of the service is nearly full.
    """
    if full := full_disk(settings, settings.of(project).storage):
        raise FullError(full, hint="make room there, or ask the operator for it; what runs goes on")
    if settings.stored_bytes is None:
        return
    taken = stored()
    if taken + more > settings.stored_bytes or taken >= settings.stored_bytes:
        raise QuotaError(
            f"what {project} keeps takes {taken / GIB:.2f} of {settings.stored_bytes / GIB:g} GiB",
            hint="`axo delete` runs and `axo datasets delete` data that nobody needs, or ask the operator "
            "for more (`room` in the settings)",
        )


def need_storage(url: str) -> None:
    """Raises StorageError where storage does not answer, StorageRefusedError where it cannot be used, or
    would let two trainers own one run."""
    with _proving:
        if url in _proven:
            return
        try:
            contract.prove_store(contract.open_store(url))
        except contract.StorageAway as error:
            raise StorageError(f"storage cannot be used now: {error}") from error
        except (contract.ContractError, OSError) as error:
            hint = "`axo doctor` on the service's machine looks at it again"
            raise StorageRefusedError(f"storage cannot be used: {error}", hint=hint) from error
        _proven.add(url)
