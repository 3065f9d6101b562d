"""Streams of an attempt, cut into parts: its log and its metric record."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from orchestrator.contract.layout import attempt_key
from orchestrator.contract.sound import is_figure, is_time, is_whole
from orchestrator.contract.store import Store

Stream = Literal["log", "metrics"]
RecordKind = Literal["start", "metrics", "checkpoint"]
PART_BYTES = 256 * 1024
PIECE_BYTES = 16 * 1024 * 1024
MAX_KEY = 200


def part_key(attempt: int, stream: Stream, part: int) -> str:
    return f"{attempt_key(attempt)}/{stream}-{part:05d}.{'txt' if stream == 'log' else 'jsonl'}"


class StreamWriter:
    """Writes one stream of an attempt in parts; nothing is lost before the last `flush`, nothing doubled."""

    def __init__(self, run: Store, attempt: int, stream: Stream, part_bytes: int = PART_BYTES) -> None:
        self._run, self._attempt, self._stream, self._part_bytes = run, attempt, stream, part_bytes
        self._part, self._open, self._dirty = 0, bytearray(), False
        self.length = 0

    def append(self, data: bytes) -> None:
        self._open += data
        self.length += len(data)
        self._dirty = bool(self._open)

    def flush(self) -> None:
        """Write what is new: full parts once and for ever, the open one whole."""
        while self._dirty and len(self._open) >= self._part_bytes:
            self._write(bytes(self._open[: self._part_bytes]))
            del self._open[: self._part_bytes]
            self._part += 1
            self._dirty = bool(self._open)
        if self._dirty:
            self._write(bytes(self._open))
            self._dirty = False

    def _write(self, data: bytes) -> None:
        self._run.write(part_key(self._attempt, self._stream, self._part), data)


def read_stream(run: Store, attempt: int, stream: Stream, offset: int = 0, most: int = sys.maxsize) -> bytes:
    """The bytes of a stream from `offset` on, `most` of them at most; parts before it are not read."""
    found, left = [], most
    for key, size in run.sizes(attempt_key(attempt)).items():
        if f"/{stream}-" not in key:
            continue
        if offset < size and left > 0:
            whole = size - offset <= left
            found.append(run.read(key, offset) if whole else b"".join(run.blocks(key, offset, offset + left)))
            left -= len(found[-1])
        offset = max(0, offset - size)
    return b"".join(found)


def pieces_of_stream(
    run: Store, attempt: int, stream: Stream, offset: int = 0, most: int = PIECE_BYTES
) -> Iterator[bytes]:
    """The bytes of a stream from `offset` on, in pieces of whole lines, where none is longer than a piece:
    whoever trains may write more than anybody can hold at once."""
    full = True
    while full and (piece := read_stream(run, attempt, stream, offset, most)):
        full = len(piece) >= most  # what follows a shorter one came meanwhile, and is read next time
        piece = (piece[: piece.rfind(b"\n") + 1] or piece) if full else piece
        yield piece
        offset += len(piece)


@dataclass(frozen=True)
class Record:
    """One line of the metric record.

    `kind` is "start" (values: total_steps, resumed_from and what Axolotl counted), "metrics" (the
    values of one optimizer step) or "checkpoint" (a commit). `time` is in seconds since 1970.
    """

    kind: RecordKind
    step: int
    time: float
    values: Mapping[str, float]

    def to_line(self) -> bytes:
        return json.dumps(asdict(self), allow_nan=True, separators=(",", ":")).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Record:
        """Raises ValueError for a line that is no record; whoever trains may write what they like."""
        try:
            record = cls(**json.loads(line))
            sound = record._is_sound()
        except (TypeError, AttributeError, RecursionError, OverflowError) as error:
            raise ValueError("a line of the metric record is none") from error
        if not sound:
            raise ValueError("a line of the metric record is none")
        return record

    def _is_sound(self) -> bool:
        """Whether everything is of its kind, and not beyond what a database holds."""
        return (
            self.kind in get_args(RecordKind)
            and is_whole(self.step)
            and is_time(self.time)
            and all(len(key) <= MAX_KEY and key.isprintable() for key in self.values)
            and all(map(is_figure, self.values.values()))
        )


def parse_records(data: bytes) -> tuple[list[Record], int]:
    """The whole lines at the head of `data`, and how many bytes they take.

    Raises:
        ValueError: a line is no record.
    """
    end = data.rfind(b"\n") + 1
    return [Record.from_line(line) for line in data[:end].splitlines()], end


def pick_records(data: bytes) -> tuple[list[Record], int]:
    """The same, passing over lines that are no records: whoever trains may write what they like."""
    end = data.rfind(b"\n") + 1
    found = (_record_or_none(line) for line in data[:end].splitlines())
    return [record for record in found if record is not None], end


def _record_or_none(line: bytes) -> Record | None:
    try:
        return Record.from_line(line)
    except ValueError:
        return None
