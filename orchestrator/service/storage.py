"""Storage is proven before anything is put into it, once in the life of a process."""

from __future__ import annotations

import threading

from orchestrator import contract
from orchestrator.errors import StorageError

_proven: set[str] = set()
_proving = threading.Lock()


def need_storage(url: str) -> None:
    """Raises StorageError where the storage cannot be used, or would let two trainers own one run."""
    with _proving:
        if url in _proven:
            return
        try:
            contract.prove_store(contract.open_store(url))
        except (contract.ContractError, OSError) as error:
            hint = "`axo doctor` on the service's machine looks at it again"
            raise StorageError(f"storage cannot be used: {error}", hint=hint) from error
        _proven.add(url)
