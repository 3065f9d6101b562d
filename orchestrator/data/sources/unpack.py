"""Unpacking: gzip, zstd, bzip2, xz and zip become plain files in scratch space, within bounds.

A packed file may come out at `MAX_RATIO` times its size, or a gibibyte if that is more: text packs 3 to 20
times, and a few kilobytes that unpack without end (a zip bomb) must not fill the disk.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Protocol

import zstandard

from orchestrator.data.rows import fresh
from orchestrator.data.sources.formats import KINDS, ZIP, head_of
from orchestrator.errors import DataError, Fault

MAX_RATIO = 200
FREE_BYTES = 1024**3
MAX_MEMBERS = 10_000
_DEPTH = 3  # such as a .gz in a .zip
_BLOCK = 1024 * 1024
_ZSTD_BYTES = 4096  # at worst 128 MB come out of them

_BROKEN = (EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstandard.ZstdError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Plain:
    """A file that is not packed. `name` is what faults call it, `inner` what its format is told by."""

    name: str
    inner: str
    path: Path
    unpacked: bool = False


class _Bytes(Protocol):
    """What is read block by block, and closed."""

    def read(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class _Zstd:
    """Zstandard frames, told from a file cut short; the library's own reader ends there without a word."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._library = zstandard.ZstdDecompressor()
        self._frame, self._inside = self._library.decompressobj(), False

    def read(self, size: int, /) -> bytes:
        out = b""
        while len(out) < size and (packed := self._file.read(_ZSTD_BYTES)):
            while packed:
                out += self._frame.decompress(packed)
                self._inside, packed = not self._frame.eof, self._frame.unused_data
                if self._frame.eof:
                    self._frame = self._library.decompressobj()
        if not out and self._inside:
            raise EOFError("the last frame is cut short")
        return out

    def close(self) -> None:
        self._file.close()


_STREAMS: tuple[tuple[bytes, str, Callable[[Path], _Bytes]], ...] = (
    (b"\x1f\x8b", ".gz", gzip.GzipFile),
    (b"\x28\xb5\x2f\xfd", ".zst", _Zstd),
    (b"BZh", ".bz2", bz2.BZ2File),
    (b"\xfd7zXZ\x00", ".xz", lzma.LZMAFile),
)
PACKED = (*(suffix for _, suffix, _ in _STREAMS), ".zip")


def is_packed(path: Path, head: bytes) -> bool:
    return _stream(head) is not None or (head.startswith(ZIP) and not _is_workbook(path))


def data_names(names: list[str]) -> list[str]:
    """Those of a folder's or an archive's files that hold data, sorted; texts count only where all are."""
    kinds = {name: kind for name in names if not _hidden(name) and (kind := _kind(name))}
    tables = [name for name, kind in kinds.items() if kind != "text"]
    return sorted(tables or kinds)


def unpacked(name: str, path: Path, scratch: Path) -> list[Plain]:
    """The plain files in a file: itself where it is not packed.

    Raises:
        DataError: it is broken, locked, beyond the bounds, or holds no data.
        OSError: scratch space is full or cannot be written.
    """
    budget = _Budget(name, max(FREE_BYTES, MAX_RATIO * path.stat().st_size))
    return list(_unpacked(Plain(name, name, path), scratch, budget, _DEPTH))


class _Budget:
    """How many bytes may still come out of a file."""

    def __init__(self, name: str, left: int) -> None:
        self._name, self._all, self._left = name, left, left

    def take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            what = f"the file unpacks to more than {self._all / 1e9:,.1f} GB"
            why = f"more than {MAX_RATIO} times its size is taken for a trap that fills the disk"
            raise DataError([Fault(what, "unpack it yourself, and give what it holds", why, self._name)])


def _unpacked(file: Plain, scratch: Path, budget: _Budget, depth: int) -> Iterator[Plain]:
    head = head_of(file.path)
    stream = _stream(head)
    if stream is None and not is_packed(file.path, head):
        yield file
        return
    if not depth:
        raise DataError([Fault("the file is packed over and over", "unpack it", file=file.name)])
    if stream is None:
        members = _members(file, scratch, budget)
    else:
        suffix, opened = stream
        inner = file.inner[: -len(suffix)] if file.inner.lower().endswith(suffix) else file.inner
        members = [
            Plain(file.name, inner, _copied(file.name, partial(opened, file.path), scratch, budget), True)
        ]
    for member in members:
        yield from _unpacked(member, scratch, budget, depth - 1)


def _members(file: Plain, scratch: Path, budget: _Budget) -> list[Plain]:
    """The data files of an archive, in the order of their names; a name is never taken for a path."""
    with _translated(file.name), zipfile.ZipFile(file.path) as archive:
        infos = {info.filename: info for info in archive.infolist() if not info.is_dir()}
        if len(infos) > MAX_MEMBERS:
            what = f"the archive holds more than {MAX_MEMBERS:,} files"
            raise DataError([Fault(what, "join them into fewer", file=file.name)])
        names = data_names(list(infos)) or [name for name in sorted(infos) if not _hidden(name)]
        if not names:
            raise DataError([Fault("the archive holds no file", "give one that holds rows", file=file.name)])
        if any(infos[name].flag_bits & 1 for name in names):
            raise DataError([Fault("the archive is locked by a password", "unpack it", file=file.name)])
        alone = len(names) == 1
        return [
            Plain(
                file.name if alone else f"{file.name}/{name}",
                name,
                _copied(file.name, partial(archive.open, infos[name]), scratch, budget),
                unpacked=True,
            )
            for name in names
        ]


def _copied(name: str, opened: Callable[[], _Bytes], scratch: Path, budget: _Budget) -> Path:
    path = fresh(scratch)
    with _translated(name), contextlib.closing(opened()) as source, path.open("wb") as target:
        while block := source.read(_BLOCK):
            budget.take(len(block))
            target.write(block)
    return path


@contextlib.contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except (*_BROKEN, NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of a disk; bzip2's own has no number
            raise
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        fix = "make it again; the copy may be cut short"
        raise DataError([Fault("the file cannot be unpacked", fix, why, file=name)]) from error


def _stream(head: bytes) -> tuple[str, Callable[[Path], _Bytes]] | None:
    return next(((suffix, opened) for magic, suffix, opened in _STREAMS if head.startswith(magic)), None)


def _is_workbook(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return "xl/workbook.xml" in archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError):
        return False


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)


def _kind(name: str) -> str | None:
    suffixes = [suffix.lower() for suffix in PurePosixPath(name).suffixes]
    while suffixes and suffixes[-1] in PACKED and len(suffixes) > 1 and suffixes[-2] in (*KINDS, *PACKED):
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    return "packed" if last in PACKED else KINDS.get(last)
