"""Send a file to the service: only what it lacks, and on from there after the network was cut."""

from __future__ import annotations

from pathlib import Path

from orchestrator import wire
from orchestrator.client import Client
from orchestrator.client.download import Told
from orchestrator.client.patience import FOLLOW_SECONDS, Passing, Wait
from orchestrator.errors import ConflictError, UnreachableError


def upload(client: Client, path: Path, sha256: str, size: int, told: Told = lambda _: None) -> int:
    """See to it that the service has a file; the bytes that were sent.

    `told` hears of bytes that are there. Where the network is cut, it goes on with the missing parts;
    after a quarter of an hour without a single part more it gives up, and another call goes on from there.
    A service that has not answered at all is not waited for so long.

    Raises:
        UnreachableError: the service stays away.
        ConflictError: the file changed meanwhile.
        OrchestratorError: as the service refuses it.
    """
    state: wire.File | None = client.begin_file(sha256, size)
    sent, known, wait = 0, 0, Wait(client.patience, FOLLOW_SECONDS)
    while True:
        try:
            state = state or client.begin_file(sha256, size)
            there = size - _bytes(state.missing, size, state.part_size)
            told(there - known)
            known = there
            for part in state.missing:
                data = _read_part(path, part, state.part_size, size)
                client.put_part(sha256, part, data)
                sent, known = sent + len(data), known + len(data)
                wait.over()
                told(len(data))
            if not state.complete:
                client.finish_file(sha256)
            return sent
        except UnreachableError as error:
            error.hint = f"what has arrived of {path} is kept: the same command goes on from there"
            wait.after(Passing(error))
            state = None


def _bytes(parts: list[int], size: int, part_size: int) -> int:
    return sum(min(part_size, size - part * part_size) for part in parts)


def _read_part(path: Path, part: int, part_size: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(part * part_size)
        data = file.read(part_size)
    if len(data) != min(part_size, size - part * part_size):
        raise ConflictError(f"{path} became shorter while it was read", hint="try again")
    return data
