"""Files that came over the network: in storage by their content, in a spec as `upload://` addresses.

    uploads/<project>/<sha256>/part-000000 part-000001 ..  MANIFEST.json

A file arrives in parts of `PART_BYTES`, in any order and more than once; its manifest, written last
after all of it was read again, makes it count. Several files that a spec names as one (a folder, a
pattern, a base model) are a bundle: a file of JSON that lists them.

    upload://<sha256>/tickets.csv      one file, and what it is called
    upload://<sha256>/tickets/         a bundle
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

from orchestrator import contract
from orchestrator.contract import ContractError, File, Manifest, Store

SCHEME = "upload://"
PART_BYTES = 4 * 1024 * 1024
MAX_BUNDLE_FILES = 10_000
MAX_BUNDLE_BYTES = 8 * 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ADDRESS = re.compile(r"^upload://(?P<sha256>[0-9a-f]{64})/(?P<name>[^?#]{1,1000}?)(?P<bundle>/?)$")


@dataclass(frozen=True)
class Upload:
    """What an `upload://` address says: the content's SHA-256 in hex, and what it is called."""

    sha256: str
    name: str
    bundle: bool = False

    @property
    def address(self) -> str:
        return f"{SCHEME}{self.sha256}/{quote(self.name)}{'/' if self.bundle else ''}"


def parse_address(text: str) -> Upload | None:
    """The opposite of `Upload.address`; None where the text is no such address."""
    match = _ADDRESS.match(text)
    name = unquote(match["name"]) if match else ""
    if match is None or not is_plain_name(name):
        return None
    return Upload(match["sha256"], name, bool(match["bundle"]))


def is_plain_name(name: str) -> bool:
    """Whether a relative path goes nowhere but down, by names that every file system takes."""
    parts = PurePosixPath(name).parts
    return bool(parts) and all(
        part.isprintable() and part not in ("/", "..") and "\\" not in part and len(part.encode()) <= 255
        for part in parts
    )


def uploads_key(project: str) -> str:
    """Where the uploads of a project lie in storage."""
    return f"uploads/{project}"


def upload_key(project: str, sha256: str) -> str:
    """Where one of them lies."""
    return f"{uploads_key(project)}/{sha256}"


def part_sizes(size: int) -> list[int]:
    """The bytes of each part of a file."""
    whole, rest = divmod(size, PART_BYTES)
    return [PART_BYTES] * whole + ([rest] if rest else [])


def missing_parts(uploads: Store, sha256: str, size: int) -> list[int]:
    """The numbers of the parts that have not arrived, counted from 0; `uploads` is a project's folder."""
    there = set(uploads.keys(sha256))
    return [number for number in range(len(part_sizes(size))) if _part(sha256, number) not in there]


def write_part(uploads: Store, sha256: str, number: int, data: bytes) -> None:
    """Keep a part, whole and durably; the same part again replaces it."""
    uploads.write(_part(sha256, number), data)


def is_whole(uploads: Store, sha256: str) -> bool:
    """Whether an upload counts."""
    return contract.read_manifest(uploads, sha256) is not None


def commit(uploads: Store, sha256: str, size: int) -> bool:
    """Read all parts and let the upload count; False, its parts gone, where they are not that content."""
    whole, files = hashlib.sha256(), []
    for number in range(len(part_sizes(size))):
        data = uploads.read(_part(sha256, number))
        whole.update(data)
        name = _part(sha256, number).removeprefix(f"{sha256}/")
        files.append(File(name, len(data), hashlib.sha256(data).hexdigest()))
    if whole.hexdigest() != sha256:
        contract.remove_folder(uploads, sha256)
        return False
    manifest = Manifest("upload", tuple(files), facts={"sha256": sha256})
    uploads.write(f"{sha256}/{contract.MANIFEST}", manifest.to_json())
    return True


def read_bundle(uploads: Store, sha256: str) -> dict[str, str]:
    """The files of a bundle: the SHA-256 of each by its name.

    Raises:
        ContractError: there is no such upload, or it is no bundle.
    """
    text = read_small(uploads, sha256, MAX_BUNDLE_BYTES)
    try:
        files = json.loads(text)["files"]
        plain = {str(name): str(digest) for name, digest in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ContractError("it is no bundle") from error
    if not all(map(_SHA256.fullmatch, plain.values())):
        raise ContractError("it is a bundle that names no content of a file")
    if len(plain) > MAX_BUNDLE_FILES or not all(map(is_plain_name, plain)):
        raise ContractError("it is a bundle of too many files, or of names that lead elsewhere")
    paths = set(map(PurePosixPath, plain))
    if any(folder in paths for path in paths for folder in path.parents):
        raise ContractError("it is a bundle with a file inside of a file")
    return plain


def read_small(uploads: Store, sha256: str, most: int) -> bytes:
    """The content of an upload of at most so many bytes.

    Raises:
        ContractError: there is no such upload, or it is larger.
    """
    manifest = _manifest(uploads, sha256)
    if manifest.size > most:
        raise ContractError(f"it is larger than {most >> 10} KiB")
    return b"".join(uploads.read(f"{sha256}/{file.path}") for file in manifest.files)


def bundle_text(files: Mapping[str, str]) -> bytes:
    """The content of a bundle: the SHA-256 of each file by its name."""
    return json.dumps({"files": dict(sorted(files.items()))}, ensure_ascii=False, indent=1).encode()


def fetch(uploads: Store, upload: Upload, target: Path) -> None:
    """Copy an upload out to `target`: a file, or the folder of a bundle; every byte is checked.

    Raises:
        ContractError: there is no such upload, or it is not what its digest says.
        OSError: the disk is full or cannot be written.
    """
    if not upload.bundle:
        _fetch_file(uploads, upload.sha256, target)
        return
    target.mkdir(parents=True, exist_ok=True)
    for name, sha256 in read_bundle(uploads, upload.sha256).items():
        _fetch_file(uploads, sha256, target / name)


def lacking(uploads: Store, upload: Upload) -> list[str]:
    """What of an upload is not there, by names; empty where all of it counts."""
    if not is_whole(uploads, upload.sha256):
        return [upload.name]
    if not upload.bundle:
        return []
    files = read_bundle(uploads, upload.sha256)
    return [name for name, sha256 in files.items() if not is_whole(uploads, sha256)]


def _fetch_file(uploads: Store, sha256: str, target: Path) -> None:
    manifest = _manifest(uploads, sha256)
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for part in manifest.files:
            data = uploads.read(f"{sha256}/{part.path}")
            digest.update(data)
            file.write(data)
    if digest.hexdigest() != sha256:
        raise ContractError(f"the upload {sha256} is not what its digest says")


def _manifest(uploads: Store, sha256: str) -> Manifest:
    manifest = contract.read_manifest(uploads, sha256)
    if manifest is None:
        raise ContractError(f"there is no upload {sha256}")
    return manifest


def _part(sha256: str, number: int) -> str:
    return f"{sha256}/part-{number:06}"
