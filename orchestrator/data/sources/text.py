"""Texts as UTF-8 without a mark: what is in another encoding is written anew into scratch space."""

from __future__ import annotations

import shutil
from pathlib import Path

from orchestrator.data.rows import fresh
from orchestrator.data.sources.file_bytes import Decoding, blocks
from orchestrator.data.sources.formats import mark_of
from orchestrator.errors import DataError, Fault


def refuse_unmarked(head: bytes, name: str) -> None:
    """Raise DataError for UTF-16 or UTF-32 without a mark: as UTF-8 every other byte of it is zero."""
    zeros = head.count(0)
    if zeros * 4 <= len(head):
        return
    first = next(at for at, byte in enumerate(head) if byte == 0)
    wide = "utf-32" if zeros > len(head) * 0.6 else "utf-16"
    encoding = f"{wide}-{'be' if first == 0 else 'le'}"
    fix = f"write the source as {{source: .., encoding: {encoding}}}, or save the file as UTF-8"
    raise DataError([Fault(f"the file looks like {encoding}, without a mark", fix, file=name, line=1)])


def as_utf8(path: Path, name: str, head: bytes, encoding: str | None, scratch: Path) -> Path:
    """The file itself where it is plain UTF-8, else a copy in scratch that is; a mark counts more than
    `encoding`.

    Raises:
        DataError: a byte is not of the encoding, with line and column.
        OSError: scratch space is full or cannot be written.
    """
    skip, marked = mark_of(head)
    if marked is None and encoding is None:
        return path
    if marked == "utf-8":
        return _without_mark(path, skip, scratch)
    target = fresh(scratch)
    decoding = Decoding(name, marked or encoding or "utf-8")
    with target.open("wb") as file:
        for number, block in enumerate(blocks(path)):
            file.write(decoding.feed(block if number else block[skip:]).encode())
        file.write(decoding.end().encode())
    return target


def _without_mark(path: Path, skip: int, scratch: Path) -> Path:
    target = fresh(scratch)
    with path.open("rb") as source, target.open("wb") as file:
        source.seek(skip)
        shutil.copyfileobj(source, file, 1024 * 1024)
    return target
