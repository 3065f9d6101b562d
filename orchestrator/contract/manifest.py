"""Folders that count only when whole: manifest last, content digest, verified copies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from orchestrator.contract.store import ContractError, File, Store, check_key, to_json

MANIFEST = "MANIFEST.json"
VERSION = 1
_T = TypeVar("_T")


class Guard(Protocol):
    """Raises where this writer may not commit any more."""

    def check(self) -> None: ...


@dataclass(frozen=True)
class Manifest:
    """The files of a folder that is whole, and what is to be known before opening them.

    `step` is the optimizer step of a checkpoint or adapter; `attempt` wrote it; `record` is the
    length in bytes of that attempt's metric record when it was written.
    """

    kind: Literal["checkpoint", "adapter", "model", "dataset", "upload"]
    files: tuple[File, ...]
    step: int | None = None
    attempt: int | None = None
    record: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 of the folder's content: of its sorted `<sha256>  <path>` lines, as sha256sum
        prints them."""
        return content_digest(self.files)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    def to_json(self) -> bytes:
        return to_json({"version": VERSION, "digest": self.digest, **asdict(self)})

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Raises ContractError when the text is no manifest, its digest is not that of its files, or one of
        them would lie outside its folder."""
        try:
            raw = json.loads(data)
            files = tuple(File(**entry) for entry in raw["files"])
            known = {name: raw.get(name) for name in ("kind", "step", "attempt", "record")}
            manifest = cls(files=files, facts=raw.get("facts") or {}, **known)
            for file in files:
                check_key(file.path)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ContractError(f"not a manifest: {error}") from error
        if raw.get("digest") != manifest.digest:
            raise ContractError("the manifest's digest is not that of its files")
        return manifest


def content_digest(files: Iterable[File]) -> str:
    lines = (f"{file.sha256}  {file.path}\n" for file in sorted(files, key=lambda file: file.path))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_manifest(store: Store, prefix: str) -> Manifest | None:
    """The manifest of the folder `prefix`, or None where there is none or a broken one."""
    try:
        return Manifest.from_json(store.read(f"{prefix}/{MANIFEST}"))
    except (FileNotFoundError, NotADirectoryError, ContractError):
        return None


def commit_folder(
    store: Store, source: Path, prefix: str, manifest: Manifest, guard: Guard | None = None
) -> Manifest:
    """Copy the folder `source` to `prefix` and write its manifest last; `manifest.files` is filled in.

    What an earlier, broken commit left there is removed first. `guard` is asked before anything is changed;
    and since nothing is written over, an attempt that was asleep between that and its writing puts nothing in
    the place of a file that a later one has committed. No store removes on a condition, so one that was
    asleep just before removing may still remove it.

    Raises:
        Fenced: a later attempt owns the run.
        OSError: storage is full or cannot be written.
    """
    left = store.keys(prefix)
    if guard:
        guard.check()
    _remove(store, prefix, left)
    files: list[File] = []
    for name in local_files(source):
        put = partial(store.put, source / name, f"{prefix}/{name}")
        files.append(replace(_placed(store, f"{prefix}/{name}", put, guard), path=name))
    whole = replace(manifest, files=tuple(files))
    seal = partial(_create, store, f"{prefix}/{MANIFEST}", whole.to_json())
    _placed(store, f"{prefix}/{MANIFEST}", seal, guard)
    return whole


def share_folder(store: Store, source: Path, prefix: str, manifest: Manifest) -> Manifest:
    """Commit a folder whose name is the digest of its content, as several writers may at once.

    Nothing is removed, and a file that is there stays: whoever reads the folder already is not
    disturbed, and every writer ends with the same true manifest.
    """
    names = local_files(source)
    files = (replace(store.put(source / name, f"{prefix}/{name}", keep=True), path=name) for name in names)
    whole = replace(manifest, files=tuple(files))
    store.write(f"{prefix}/{MANIFEST}", whole.to_json())
    return whole


def fetch_folder(
    store: Store, prefix: str, target: Path, wanted: Callable[[str], bool] = lambda _: True
) -> Manifest:
    """Copy the `wanted` files of the folder `prefix` out to `target`, each byte checked against its manifest.

    Raises:
        ContractError: there is no manifest, or a file is missing or not the one it names.
    """
    manifest = read_manifest(store, prefix)
    if manifest is None:
        raise ContractError(f"{prefix} has no true manifest")
    for file in filter(lambda file: wanted(file.path), manifest.files):
        _fetch_file(store, prefix, file, target)
    return manifest


def verify_folder(store: Store, prefix: str) -> list[str]:
    """What is untrue of a folder's manifest, in sentences; empty when the folder is whole."""
    manifest = read_manifest(store, prefix)
    if manifest is None:
        return [f"{prefix} has no true manifest"]
    sizes = store.sizes(prefix)
    return [fault for file in manifest.files if (fault := _untrue(store, prefix, file, sizes))]


def remove_folder(store: Store, prefix: str) -> None:
    """Delete a folder, its manifest first, so that it never looks whole while it is half gone."""
    _remove(store, prefix, store.keys(prefix))


def local_files(folder: Path) -> list[str]:
    """Relative paths of the files below a local folder, sorted, its own manifest left out."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name != MANIFEST)


def _remove(store: Store, prefix: str, keys: Sequence[str]) -> None:
    if keys:
        store.delete(f"{prefix}/{MANIFEST}")
        store.delete(*keys)


def _placed(store: Store, key: str, place: Callable[[], _T], guard: Guard | None) -> _T:
    """Have an object placed where nothing lies. What a fenced attempt has put there meanwhile goes."""
    while True:
        if guard:
            guard.check()
        try:
            return place()
        except FileExistsError:
            if guard:
                guard.check()
            store.delete(key)


def _create(store: Store, key: str, data: bytes) -> None:
    if not store.create(key, data):
        raise FileExistsError(key)


def _fetch_file(store: Store, prefix: str, file: File, target: Path) -> None:
    try:
        fetched = store.get(f"{prefix}/{file.path}", target / file.path)
    except FileNotFoundError as error:
        raise ContractError(f"{prefix}/{file.path} is missing") from error
    if (fetched.size, fetched.sha256) != (file.size, file.sha256):
        raise ContractError(f"{prefix}/{file.path} is not the file its manifest names")


def _untrue(store: Store, prefix: str, file: File, sizes: Mapping[str, int]) -> str | None:
    size = sizes.get(f"{prefix}/{file.path}")
    if size is None:
        return f"{file.path} is missing"
    if size != file.size:
        return f"{file.path} has {size} bytes, not {file.size}"
    if store.digest(f"{prefix}/{file.path}").sha256 != file.sha256:
        return f"{file.path} has other content than its manifest says"
    return None
