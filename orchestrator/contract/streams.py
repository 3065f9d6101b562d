"""Streams of an attempt, cut into parts: its log and its metric record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from orchestrator.contract.layout import attempt_key
from orchestrator.contract.store import Store

Stream = Literal["log", "metrics"]
PART_BYTES = 256 * 1024


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


def read_stream(run: Store, attempt: int, stream: Stream, offset: int = 0) -> bytes:
    """The bytes of a stream from `offset` on."""
    parts = sorted(key for key in run.keys(attempt_key(attempt)) if f"/{stream}-" in key)
    return b"".join(run.read(key) for key in parts)[offset:]


@dataclass(frozen=True)
class Record:
    """One line of the metric record.

    `kind` is "start" (values: total_steps, resumed_from and what Axolotl counted), "metrics" (the
    values of one optimizer step) or "checkpoint" (a commit). `time` is in seconds since 1970.
    """

    kind: Literal["start", "metrics", "checkpoint"]
    step: int
    time: float
    values: Mapping[str, float]

    def to_line(self) -> bytes:
        return json.dumps(asdict(self), allow_nan=True, separators=(",", ":")).encode() + b"\n"


def parse_records(data: bytes) -> tuple[list[Record], int]:
    """The whole lines at the head of `data`, and how many bytes they take."""
    end = data.rfind(b"\n") + 1
    return [Record(**json.loads(line)) for line in data[:end].splitlines()], end
