"""Pack a spec for a service elsewhere: mappings inlined, what lies on this machine uploaded.

The text stays as it was written. Beside it goes what its places of this machine stand for, each by its
field: one file, or the files of a folder, a pattern or a base model as a bundle.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from orchestrator import wire
from orchestrator.adapters import ADAPTER_FILES, check_files
from orchestrator.client import Client
from orchestrator.client.download import Told
from orchestrator.client.upload import upload
from orchestrator.contract import hash_file
from orchestrator.data.sources.find import find_files
from orchestrator.errors import Fault, FaultsError, SpecError
from orchestrator.spec.load import Loaded, with_places
from orchestrator.spec.places import ADAPTER, BASE_MODEL, places
from orchestrator.staging import staged_files
from orchestrator.uploads import Upload, bundle_text


@dataclass(frozen=True)
class Packed:
    """A file of this machine that a spec needs: what it is called, where it lies, what is in it."""

    name: str
    path: Path
    sha256: str
    size: int


@dataclass(frozen=True)
class Package:
    """A submission, and the files that the service must have before it."""

    submission: wire.Submission
    files: tuple[Packed, ...]

    @property
    def size(self) -> int:
        """Bytes of the files; the same content counts once."""
        return sum(file.size for file in self.files)

    def send(self, client: Client, told: Told = lambda _: None) -> int:
        """Upload what the service lacks; the bytes that were sent. Raises as `upload` does."""
        return sum(upload(client, file.path, file.sha256, file.size, told) for file in self.files)


@contextmanager
def packed(
    loaded: Loaded, *, go_on: bool = False, hashed: Callable[[Path], None] = lambda _: None
) -> Iterator[Package]:
    """The package of a spec, for the length of a `with` block; `hashed` hears of each file looked at.

    Raises:
        SpecError: a place is not there, with each fault at its line.
    """
    base = loaded.path.parent
    files: dict[str, Packed] = {}
    addresses: dict[str, str] = {}
    faults: list[Fault] = []
    with TemporaryDirectory(prefix="axo-pack-") as scratch:
        for field, place in places(loaded.spec).items():
            try:
                found = _files_of(field, place, base)
            except FaultsError as error:
                faults += error.faults
                continue
            if found is None:
                continue
            name, parts = found
            own = [_packed(inner, path, hashed) for inner, path in parts]
            if name.endswith("/"):
                own.append(_bundle(name.rstrip("/"), own, Path(scratch)))
            files |= {file.sha256: file for file in own}
            addresses[field] = Upload(own[-1].sha256, name.rstrip("/"), name.endswith("/")).address
        if faults:
            raise SpecError(with_places(loaded, faults))
        submission = wire.Submission(
            spec=loaded.text,
            file=str(loaded.path),
            mappings=dict(loaded.mapping_texts),
            uploads=addresses,
            go_on=go_on,
        )
        yield Package(submission, tuple(files.values()))


def lies_in_its_folder(loaded: Loaded) -> bool:
    """Whether all files of this machine that a spec names lie below its own folder, with no link on the way:
    then they are the same wherever that folder is mounted."""
    base = loaded.path.parent
    try:
        names = [name for field, place in places(loaded.spec).items() for name in _names(field, place, base)]
    except FaultsError:
        return True  # what is missing is told by whoever reads it
    top = base.resolve()
    return all(
        not os.path.isabs(name) and (base / name).resolve() == top / os.path.normpath(name) for name in names
    )


def _names(field: str, place: str, base: Path) -> list[str]:
    """The files of a place on this machine, as paths from the spec's folder; none for a place elsewhere."""
    if "://" in place:
        return []
    if field in (BASE_MODEL, ADAPTER):
        folder = base / place
        return [os.path.join(place, name) for name in os.listdir(folder)] if folder.is_dir() else []
    return find_files(place, base, field)


def _files_of(field: str, place: str, base: Path) -> tuple[str, list[tuple[str, Path]]] | None:
    """What a place of this machine is called (a bundle with a slash at its end), and its files by their
    names in it; None for a place elsewhere.

    Raises:
        DataError: there is no such file.
        SpecError: it is a folder, and no adapter's.
    """
    if "://" in place:
        return None
    if field in (BASE_MODEL, ADAPTER):
        folder = base / place
        if not folder.is_dir():
            return None
        inside = staged_files(folder) if field == BASE_MODEL else _adapter_files(folder, place)
        return f"{folder.absolute().name}/", [(name, folder / name) for name in inside]
    names = find_files(place, base, field)
    if names == [place]:
        return Path(place).name, [(Path(place).name, base / place)]
    top = os.path.commonpath([str((base / name).parent.absolute()) for name in names])
    within = [(Path(base / name).absolute().relative_to(top).as_posix(), base / name) for name in names]
    return f"{Path(top).name or 'data'}/", within


def _adapter_files(folder: Path, place: str) -> tuple[str, ...]:
    """The files that make an adapter; whatever lies beside them stays here."""
    check_files(place, [name for name in ADAPTER_FILES if (folder / name).is_file()])
    return ADAPTER_FILES


def _packed(name: str, path: Path, hashed: Callable[[Path], None]) -> Packed:
    hashed(path)
    file = hash_file(path, name)
    return Packed(name, path, file.sha256, file.size)


def _bundle(name: str, files: Iterable[Packed], scratch: Path) -> Packed:
    """The listing of a bundle, as a file of its own."""
    text = bundle_text({file.name: file.sha256 for file in files})
    digest = sha256(text).hexdigest()
    path = scratch / f"{digest}.json"
    path.write_bytes(text)
    return Packed(name, path, digest, len(text))
