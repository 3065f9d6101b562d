"""What a run's attempts printed, and what launches said that died before they began one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

from orchestrator import contract, wire
from orchestrator.backends import Backend, launch_name
from orchestrator.controller.of_run import run_store
from orchestrator.db import Database, Run
from orchestrator.runs import Phase

PART_BYTES = 256 * 1024
PIECE_BYTES = 4 * PART_BYTES  # that are held for a reader who does not take them


def read_logs(
    database: Database, backend: Backend, run: Run, seen: Mapping[str, int]
) -> Iterator[wire.LogPart]:
    """The parts of a run's logs, oldest attempt first, from where `seen` says a reader stands.

    `seen` has how many bytes of each text were read: under `attempt-3` those of attempt 3, under
    `launch-2` those of a launch that never began one.
    """
    store = run_store(run)
    claims = contract.attempts(store)
    claimed = {claim.launch for claim in claims}
    for launch in database.launches(run.id):
        for number in (claim.attempt for claim in claims if claim.launch == launch.number):
            offset = seen.get(f"attempt-{number}", 0)
            with suppress(contract.ContractError):  # something else stands there, which nobody reads
                for text in contract.pieces_of_stream(store, number, "log", offset, PIECE_BYTES):
                    yield from _parts(launch.number, number, offset, text)
                    offset += len(text)
        if launch.number not in claimed:
            offset = seen.get(f"launch-{launch.number}", 0)
            text = _last_words(backend, launch_name(run.id, launch.number)).encode()[offset:]
            yield from _parts(launch.number, None, offset, text)


def _parts(launch: int, attempt: int | None, offset: int, data: bytes) -> Iterator[wire.LogPart]:
    """A text cut into parts, none within a character; what is no UTF-8 shows as a replacement."""
    start = 0
    while start < len(data):
        end = _end_of_part(data, start)
        text = data[start:end].decode(errors="replace")
        yield wire.LogPart(launch=launch, attempt=attempt, offset=offset + start, size=end - start, text=text)
        start = end


def _end_of_part(data: bytes, start: int) -> int:
    """Where a part ends: no more than three bytes sooner than it might, for the sake of a character."""
    most = start + PART_BYTES
    if most >= len(data):
        return len(data)
    return next((end for end in range(most, most - 4, -1) if data[end] & 0xC0 != 0x80), most)


def _last_words(backend: Backend, launch: str) -> str:
    """What a launch printed that has ended."""
    return backend.logs(launch) if backend.observe(launch).phase is Phase.ENDED else ""
