"""Storage is proven before anything is put into it, once in the life of a process, and asked for room."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator import contract
from orchestrator.controller.room import full_disk
from orchestrator.errors import FullError, QuotaError, StorageError, StorageRefusedError
from orchestrator.machines import GIB
from orchestrator.settings import Settings

FAILED_SECONDS = 5.0  # for which a storage that failed is not asked again
WAIT_SECONDS = 2.0


@dataclass
class _Proof:
    """What is known of one storage, and who looks at it."""

    looking: threading.Lock = field(default_factory=threading.Lock)
    holds: bool = False
    failed: StorageError | None = None
    until: float = 0.0


_proofs: dict[str, _Proof] = {}


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
    """See that storage keeps its promises; what was found wrong holds for some seconds, and nobody waits long
    for a look that is under way: whoever asks would hold a thread.

    Raises:
        StorageError: it does not answer.
        StorageRefusedError: it cannot be used, or would let two trainers own one run.
    """
    proof = _proofs.setdefault(url, _Proof())
    if proof.holds:
        return
    if not proof.looking.acquire(timeout=WAIT_SECONDS):
        raise StorageError("storage has not answered yet", hint="try again in a few seconds")
    try:
        if proof.holds:
            return
        if proof.failed and time.monotonic() < proof.until:
            raise type(proof.failed)(str(proof.failed.args[0]), hint=proof.failed.hint)
        try:
            _prove(url)
        except StorageError as error:
            proof.failed, proof.until = error, time.monotonic() + FAILED_SECONDS
            raise
        proof.holds = True
    finally:
        proof.looking.release()


def _prove(url: str) -> None:
    try:
        contract.prove_store(contract.open_store(url))
    except contract.StorageAway as error:
        raise StorageError(f"storage cannot be used now: {error}") from error
    except (contract.ContractError, OSError) as error:
        hint = "`axo doctor` on the service's machine looks at it again"
        raise StorageRefusedError(f"storage cannot be used: {error}", hint=hint) from error
