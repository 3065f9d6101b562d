"""Storage as both sides see it: objects under keys, and what may go wrong with them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

COPY_BYTES = 4 * 1024 * 1024
READ_BYTES = 32 * 1024 * 1024  # that are read at once: whoever trains may put there what they like


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

        Nothing is written over: with `keep`, an object that is there already stays, and else that raises
        FileExistsError.
        """

    def get(self, key: str, target: Path) -> File:
        """Copy an object out to a local file; its size and SHA-256 as they were read."""

    def digest(self, key: str) -> File:
        """Size and SHA-256 of an object, read to its end."""

    def local(self, prefix: str) -> Path | None:
        """The folder `prefix` as a readable local path, where the store is one."""

    def below(self, prefix: str) -> Store:
        """The same store, rooted at the folder `prefix`."""


def check_key(key: str) -> None:
    """Raises ContractError where a key could lead out of its store."""
    if any(part in ("", ".", "..") for part in key.split("/")):
        raise ContractError(f"not a storage key: {key!r}")


def check_size(key: str, size: int) -> None:
    """Raises ContractError where an object is too large to be read at once."""
    if size > READ_BYTES:
        raise ContractError(f"storage holds more than {READ_BYTES >> 20} MiB at {key}")


def hash_file(source: Path, path: str) -> File:
    """Size and SHA-256 of a local file, named `path`."""
    with open(source, "rb") as reader:
        return File(path, *drained(blocks_of(reader)))


def drained(blocks: Iterable[bytes], write: Callable[[bytes], object] | None = None) -> tuple[int, str]:
    """The size and SHA-256 in hex of all blocks together, each given to `write` as well."""
    digest, size = hashlib.sha256(), 0
    for block in blocks:
        digest.update(block)
        size += len(block)
        if write:
            write(block)
    return size, digest.hexdigest()


def blocks_of(reader: BinaryIO) -> Iterator[bytes]:
    """What is left of a file, a block at a time."""
    return iter(lambda: reader.read(COPY_BYTES), b"")


def to_json(value: Mapping[str, Any]) -> bytes:
    """One stable text for a value: sorted keys, one per line, UTF-8."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def known_fields(cls: type, raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `raw` that this version of a dataclass knows: a newer writer may say more."""
    return {name: value for name, value in raw.items() if name in cls.__dataclass_fields__}  # type: ignore[attr-defined]
