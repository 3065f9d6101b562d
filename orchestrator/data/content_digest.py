"""The name of a dataset: a digest of its rows, whatever file they came from or lie in."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import polars as pl

from orchestrator.data.canonical import line
from orchestrator.data.shapes import CONVERSATION, Shape

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def content_digest(files: Mapping[str, Path], shape: Shape = CONVERSATION) -> str:
    """SHA-256 of the canonical rows of splits: a line `<shape>`, then for each split a line
    `<name> <rows>` and its rows, each as `canonical.line` writes it and a line end."""
    digest = sha256(f"{shape.name}\n".encode())
    for split, path in files.items():
        rows = pl.scan_parquet(path, glob=False)
        digest.update(f"{split} {rows.select(pl.len()).collect().item()}\n".encode())
        lines = rows.select(line(rows.collect_schema()))
        lines.sink_csv(_Feeder(digest), include_header=False, quote_style="never", maintain_order=True)
    return digest.hexdigest()


class _Feeder(BytesIO):
    """A file that hashes what is written to it, and keeps nothing."""

    def __init__(self, digest: _Hash) -> None:
        super().__init__()
        self._digest = digest

    def write(self, data: ReadableBuffer) -> int:
        self._digest.update(data)
        return memoryview(data).nbytes


class _Hash(Protocol):
    def update(self, data: ReadableBuffer, /) -> None: ...
