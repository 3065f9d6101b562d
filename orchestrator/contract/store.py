"""Storage as both sides see it: objects under keys; here the store in a local or mounted folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import unquote, urlparse

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe opens at once, and is then seen to be one
COPY_BYTES = 4 * 1024 * 1024
READ_BYTES = 32 * 1024 * 1024  # that are read at once: whoever trains may put there what they like
UNFINISHED = ".tmp-"  # begins the names of files that are being written, in a folder


class ContractError(Exception):
    """Storage does not hold what the contract says it must."""


class StoreError(OSError):
    """The server of a storage does not do what it was asked; its text says why, without the number."""

    def __str__(self) -> str:
        return str(self.strerror)


class StorageAway(StoreError):
    """Storage does not answer, or not now; asking again may help."""


class StorageRefused(StoreError):
    """Storage will not do it until somebody changes something; `code` is the server's word for why."""

    code = ""


class Fenced(ContractError):
    """A later attempt owns the run: this one may commit nothing more."""


@dataclass(frozen=True)
class File:
    """One file of a manifest: path relative to its folder, size in bytes, SHA-256 in hex."""

    path: str
    size: int
    sha256: str


class Store(Protocol):
    """A tree of objects named by `/`-separated keys. A read of a missing key raises FileNotFoundError."""

    url: str

    def read(self, key: str, start: int = 0) -> bytes:
        """The object's bytes, from `start` on. Raises ContractError where they are more than `READ_BYTES`."""

    def blocks(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The object's bytes from `start` up to `end`, a block at a time: for what may be large."""

    def write(self, key: str, data: bytes) -> None:
        """Replace the object whole and durably: a reader sees the old bytes or the new."""

    def create(self, key: str, data: bytes) -> bool:
        """Write the object only if it is absent; False if somebody else was first."""

    def keys(self, prefix: str = "") -> list[str]:
        """Every key below the folder `prefix`, sorted."""

    def sizes(self, prefix: str = "") -> dict[str, int]:
        """The keys below the folder `prefix`, sorted, and the bytes of each."""

    def delete(self, *keys: str) -> None:
        """Remove objects; a missing one is fine."""

    def put(self, source: Path, key: str, *, keep: bool = False) -> File:
        """Copy a local file in, whole or not at all; size and SHA-256 of what then lies at `key`.

        With `keep`, an object that is there already stays.
        """

    def get(self, key: str, target: Path) -> File:
        """Copy an object out to a local file; its size and SHA-256 as they were read."""

    def digest(self, key: str) -> File:
        """Size and SHA-256 of an object, read to its end."""

    def local(self, prefix: str) -> Path | None:
        """The folder `prefix` as a readable local path, where the store is one."""

    def below(self, prefix: str) -> Store:
        """The same store, rooted at the folder `prefix`."""


def open_store(url: str, patience: float = 0.0) -> Store:
    """The store at a `file://` URL, a local path or `s3://[<secret>@]<bucket>/<prefix>`.

    While a server is away, each request is repeated for `patience` seconds.

    Raises:
        ContractError: the scheme is not one this version writes to, or what opens the store is not here.
    """
    parsed = urlparse(url)
    if parsed.scheme in ("", "file"):
        return FileStore(Path(unquote(parsed.path) if parsed.scheme else url).absolute())
    if parsed.scheme == "s3":
        from orchestrator.contract.s3 import S3Store

        return S3Store.at(url, patience)
    raise ContractError(
        f"storage URLs of kind {parsed.scheme}:// are not supported; use file:///some/folder or s3://bucket/prefix"
    )


class FileStore:
    """A store in a local or mounted folder; whole objects appear by link or rename inside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = root.as_uri()

    def read(self, key: str, start: int = 0) -> bytes:
        with self._opened(key) as reader:
            size = max(0, os.fstat(reader.fileno()).st_size - start)
            check_size(key, size)
            reader.seek(start)
            return reader.read(size)

    def blocks(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        with self._opened(key) as reader:
            reader.seek(start)
            left = max(0, end - start) if end is not None else sys.maxsize
            while block := reader.read(min(COPY_BYTES, left)):
                left -= len(block)
                yield block

    def write(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with _written_beside(path, data) as temporary:
            os.replace(temporary, path)
        _sync_folder(path.parent)

    def create(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        with _written_beside(path, data) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
        _sync_folder(path.parent)
        return True

    def keys(self, prefix: str = "") -> list[str]:
        top = self._path(prefix) if prefix else self.root
        found = (Path(folder, name) for folder, _, names in os.walk(top) for name in names)
        return sorted(
            str(path.relative_to(self.root)) for path in found if not path.name.startswith(UNFINISHED)
        )

    def sizes(self, prefix: str = "") -> dict[str, int]:
        top = self._path(prefix) if prefix else self.root
        return dict(sorted(_sizes(str(top), f"{prefix}/" if prefix else "")))

    def delete(self, *keys: str) -> None:
        for path in map(self._path, keys):
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty, or somebody else removed it
                path.parent.rmdir()

    def put(self, source: Path, key: str, *, keep: bool = False) -> File:
        target = self._path(key)
        if keep and target.exists():
            return hash_file(target, key)
        with _beside(target) as temporary:
            copied = _copy(source, temporary, key)
            try:
                (os.link if keep else os.replace)(temporary, target)
            except FileExistsError:  # somebody else was first
                copied = hash_file(target, key)
        _sync_folder(target.parent)
        return copied

    def get(self, key: str, target: Path) -> File:
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._opened(key) as reader:
            return _copied(reader, target, key)

    def digest(self, key: str) -> File:
        with self._opened(key) as reader:
            return File(key, *drained(_blocks_of(reader)))

    def local(self, prefix: str) -> Path | None:
        return self._path(prefix)

    def below(self, prefix: str) -> Store:
        return FileStore(self._path(prefix))

    def _path(self, key: str) -> Path:
        """Where an object is to be written. Raises ContractError where a link would lead elsewhere."""
        check_key(key)
        path = self.root.joinpath(key)
        for part in (path, *path.parents[: key.count("/")]):
            if part.is_symlink():
                raise ContractError(
                    f"storage holds a link at {part.relative_to(self.root)}: it is not followed"
                )
        return path

    @contextlib.contextmanager
    def _opened(self, key: str) -> Iterator[BinaryIO]:
        """A plain file of this very folder. What trained there could have put anything in its place: a link
        out of its run, or a pipe that never ends."""
        check_key(key)
        *folders, name = key.split("/")
        place = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for folder in folders:
                place, above = os.open(folder, _FOLDER, dir_fd=place), place
                os.close(above)
            file = os.open(name, _FILE, dir_fd=place)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise ContractError(f"storage holds something else than a file at {key}") from error
            raise
        finally:
            os.close(place)
        with open(file, "rb") as reader:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise ContractError(f"storage holds something else than a file at {key}")
            yield reader


def check_key(key: str) -> None:
    """Raises ContractError where a key could lead out of its store."""
    if any(part in ("", ".", "..") for part in key.split("/")):
        raise ContractError(f"not a storage key: {key!r}")


def check_size(key: str, size: int) -> None:
    """Raises ContractError where an object is too large to be read at once."""
    if size > READ_BYTES:
        raise ContractError(f"storage holds more than {READ_BYTES >> 20} MiB at {key}")


def _sizes(folder: str, prefix: str) -> Iterator[tuple[str, int]]:
    """The files below a folder, and links, not followed; what is removed meanwhile is not there."""
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _sizes(entry.path, f"{prefix}{entry.name}/")
            elif not entry.name.startswith(UNFINISHED):
                with contextlib.suppress(FileNotFoundError):
                    yield f"{prefix}{entry.name}", entry.stat(follow_symlinks=False).st_size


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to first; what is still there at the end is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{UNFINISHED}{os.getpid()}-{time.monotonic_ns()}-{path.name}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _written_beside(path: Path, data: bytes) -> Iterator[Path]:
    with _beside(path) as temporary:
        with open(temporary, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        yield temporary


def _copy(source: Path, target: Path, path: str) -> File:
    with open(source, "rb") as reader:
        return _copied(reader, target, path)


def _copied(reader: BinaryIO, target: Path, path: str) -> File:
    with open(target, "wb") as writer:
        copied = drained(_blocks_of(reader), writer.write)
        writer.flush()
        os.fsync(writer.fileno())
    return File(path, *copied)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def hash_file(source: Path, path: str) -> File:
    """Size and SHA-256 of a local file, named `path`."""
    with open(source, "rb") as reader:
        return File(path, *drained(_blocks_of(reader)))


def drained(blocks: Iterable[bytes], write: Callable[[bytes], object] | None = None) -> tuple[int, str]:
    """The size and SHA-256 in hex of all blocks together, each given to `write` as well."""
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        size += len(block)
        if write:
            write(block)
    return size, digest.hexdigest()


def _blocks_of(reader: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: reader.read(COPY_BYTES), b"")


def to_json(value: Mapping[str, Any]) -> bytes:
    """One stable text for a value: sorted keys, one per line, UTF-8."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def known_fields(cls: type, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `raw` that this version of a dataclass knows: a newer writer may say more."""
    return {name: value for name, value in raw.items() if name in cls.__dataclass_fields__}  # type: ignore[attr-defined]
