"""Proof that a storage keeps the promises that everything else stands on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

from orchestrator.contract.store import ContractError, Store

RACERS = 4


def prove_store(store: Store) -> None:
    """Write, list, read, create and delete below `probes/`.

    Without exclusive creation two trainers could both own one run, and neither would notice.

    Raises:
        ContractError: it breaks a promise; which one, and what follows from that.
        OSError: it cannot be reached, or refuses.
    """
    folder = f"probes/{uuid4().hex}"
    written, created = f"{folder}/written", f"{folder}/created"
    store.write(written, b"axo")
    if store.read(written) != b"axo":
        raise ContractError(f"{store.url} gives back other bytes than were written")
    with ThreadPoolExecutor(RACERS) as racers:
        won = sum(racers.map(lambda number: store.create(created, b"%d" % number), range(RACERS)))
    if won != 1 or store.create(created, b"late"):
        raise ContractError(
            f"{store.url} lets several writers create one object: its server ignores `If-None-Match: *`, "
            "by which trainers claim their runs; take a server that knows S3's conditional writes"
        )
    if store.keys(folder) != [created, written]:
        raise ContractError(f"{store.url} does not list what was just written")
    store.delete(written, created)
    if store.keys(folder):
        raise ContractError(f"{store.url} still lists what was just deleted")
