"""Storage as both sides see it: objects under keys, with one store on a local or mounted folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlparse

COPY_BYTES = 4 * 1024 * 1024


class ContractError(Exception):
    """Storage does not hold what the contract says it must."""


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

    def read(self, key: str) -> bytes: ...
    def write(self, key: str, data: bytes) -> None:
        """Replace the object whole and durably: a reader sees the old bytes or the new."""

    def create(self, key: str, data: bytes) -> bool:
        """Write the object only if it is absent; False if somebody else was first."""

    def keys(self, prefix: str = "") -> list[str]:
        """Every key below the folder `prefix`, sorted."""

    def delete(self, key: str) -> None:
        """Remove the object; a missing one is fine."""

    def put(self, source: Path, key: str, *, keep: bool = False) -> File:
        """Copy a local file in, whole or not at all; size and SHA-256 of what then lies at `key`.

        With `keep`, an object that is there already stays.
        """

    def get(self, key: str, target: Path) -> File:
        """Copy an object out to a local file; its size and SHA-256 as they were read."""

    def local(self, prefix: str) -> Path | None:
        """The folder `prefix` as a readable local path, where the store is one."""

    def below(self, prefix: str) -> Store:
        """The same store, rooted at the folder `prefix`."""


def open_store(url: str) -> Store:
    """The store at a `file://` URL or a local path.

    Raises:
        ContractError: the scheme is not one this version writes to.
    """
    parsed = urlparse(url)
    if parsed.scheme in ("", "file"):
        return FileStore(Path(unquote(parsed.path) if parsed.scheme else url).absolute())
    raise ContractError(f"storage URLs of kind {parsed.scheme}:// are not supported; use file:///some/folder")


class FileStore:
    """A store in a local or mounted folder; whole objects appear by link or rename inside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.url = root.as_uri()

    def read(self, key: str) -> bytes:
        return self._path(key).read_bytes()

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
        return sorted(str(path.relative_to(self.root)) for path in found if not path.name.startswith(".tmp-"))

    def delete(self, key: str) -> None:
        path = self._path(key)
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
        return _copy(self._path(key), target, key)

    def local(self, prefix: str) -> Path | None:
        return self._path(prefix)

    def below(self, prefix: str) -> Store:
        return FileStore(self._path(prefix))

    def _path(self, key: str) -> Path:
        parts = key.split("/")
        if key.startswith("/") or any(part in ("", ".", "..") for part in parts):
            raise ContractError(f"not a storage key: {key!r}")
        return self.root.joinpath(*parts)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to first; what is still there at the end is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{time.monotonic_ns()}-{path.name}")
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
    digest, size = hashlib.sha256(), 0
    with open(source, "rb") as reader, open(target, "wb") as writer:
        while block := reader.read(COPY_BYTES):
            digest.update(block)
            size += len(block)
            writer.write(block)
        writer.flush()
        os.fsync(writer.fileno())
    return File(path, size, digest.hexdigest())


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def hash_file(source: Path, path: str) -> File:
    """Size and SHA-256 of a local file, named `path`."""
    digest = hashlib.sha256()
    with open(source, "rb") as reader:
        while block := reader.read(COPY_BYTES):
            digest.update(block)
    return File(path, source.stat().st_size, digest.hexdigest())


def to_json(value: Mapping[str, Any]) -> bytes:
    """One stable text for a value: sorted keys, one per line, UTF-8."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def known_fields(cls: type, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `raw` that this version of a dataclass knows: a newer writer may say more."""
    return {name: value for name, value in raw.items() if name in cls.__dataclass_fields__}  # type: ignore[attr-defined]
