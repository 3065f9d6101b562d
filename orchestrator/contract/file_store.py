"""The store in a local or mounted folder; whole objects appear by link or rename inside it."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from orchestrator.contract.store import (
    COPY_BYTES,
    ContractError,
    File,
    Store,
    blocks_of,
    check_key,
    check_size,
    drained,
    hash_file,
)

UNFINISHED = ".tmp-"  # begins the names of files that are being written
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe opens at once, and is then seen to be one
_UNREADABLE = (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG)


class FileStore:
    """The store whose objects are the files below `root`."""

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
        return list(self.sizes(prefix))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        below = f"{prefix}/" if prefix else ""
        return dict(sorted(each for top in self._tops(prefix) for each in _sizes(str(top), below)))

    def delete(self, *keys: str) -> None:
        for key in keys:
            path = self._place(key)  # a link there is removed as a file is
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
                os.link(temporary, target)
            except FileExistsError:  # somebody else was first
                if not keep:
                    raise
                copied = hash_file(target, key)
        _sync_folder(target.parent)
        return copied

    def get(self, key: str, target: Path) -> File:
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._opened(key) as reader:
            return _copied(reader, target, key)

    def digest(self, key: str) -> File:
        with self._opened(key) as reader:
            return File(key, *drained(blocks_of(reader)))

    def local(self, prefix: str) -> Path | None:
        return self._path(prefix)

    def below(self, prefix: str) -> Store:
        return FileStore(self._path(prefix))

    def _tops(self, prefix: str) -> list[Path]:
        """The folder to list; none where a link stands in its place: nothing of the store lies below one."""
        top = self._place(prefix) if prefix else self.root
        return [] if prefix and top.is_symlink() else [top]

    def _path(self, key: str) -> Path:
        """Where an object is to be written. Raises ContractError where a link would lead elsewhere."""
        path = self._place(key)
        self._refuse_link(path)
        return path

    def _place(self, key: str) -> Path:
        """Where an object is, or a link in its place. Raises ContractError where a link would lead there."""
        check_key(key)
        path = self.root.joinpath(key)
        for folder in path.parents[: key.count("/")]:
            self._refuse_link(folder)
        return path

    def _refuse_link(self, path: Path) -> None:
        if path.is_symlink():
            raise ContractError(f"storage holds a link at {path.relative_to(self.root)}: it is not followed")

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
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise ContractError(f"storage holds something else than a file at {key}")
        with open(file, "rb") as reader:
            yield reader


def _sizes(top: str, prefix: str) -> Iterator[tuple[str, int]]:
    """The files below a folder, and links, not followed; what is removed meanwhile is not there, nor what
    lies in a folder further down that cannot be read: what trained there may have made it."""
    folders = [(top, prefix)]
    while folders:
        folder, below = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append((entry.path, f"{below}{entry.name}/"))
                    elif not entry.name.startswith(UNFINISHED):
                        with contextlib.suppress(FileNotFoundError):
                            yield f"{below}{entry.name}", entry.stat(follow_symlinks=False).st_size
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            if folder == top or error.errno not in _UNREADABLE:
                raise


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
        copied = drained(blocks_of(reader), writer.write)
        writer.flush()
        os.fsync(writer.fileno())
    return File(path, *copied)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
