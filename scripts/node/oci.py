"""OCI images made without any build tool: layers of files of this machine, put into one archive."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

_OCI = "application/vnd.oci.image"


def layer(files: Mapping[str, Path | bytes | str]) -> bytes:
    """A tar of files by their absolute path in the image: one of this machine, bytes, or a link's target.

    All is root's, everybody may read it, and it has no date, so that it is the same each time.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in sorted({str(above) for path in files for above in PurePosixPath(path).parents} - {"/"}):
            tar.addfile(_entry(folder, tarfile.DIRTYPE, 0o755))
        for path, content in sorted(files.items()):
            _add(tar, path, content)
    return buffer.getvalue()


def archive(name: str, layers: Sequence[bytes], config: Mapping[str, Any]) -> bytes:
    """An OCI image layout in one tar: the layers, the config that names them, the manifest that names all.

    Docker's engine loads it by its `manifest.json`. `config` is as in an OCI image config: Env, User.
    """
    image = {"architecture": "amd64", "os": "linux", "config": dict(config)}
    image["rootfs"] = {"type": "layers", "diff_ids": [digest(blob) for blob in layers]}
    described = json.dumps(image).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": _named(described, f"{_OCI}.config.v1+json"),
            "layers": [_named(blob, f"{_OCI}.layer.v1.tar") for blob in layers],
        }
    ).encode()
    entry = _named(manifest, f"{_OCI}.manifest.v1+json")
    tag = name.rpartition(":")[2]
    entry["annotations"] = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": tag}
    places = [f"blobs/sha256/{digest(blob)[7:]}" for blob in (described, *layers)]
    docker = [{"Config": places[0], "RepoTags": [name], "Layers": places[1:]}]
    files = {
        "manifest.json": json.dumps(docker).encode(),
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode(),
        **{f"blobs/sha256/{digest(blob)[7:]}": blob for blob in (*layers, described, manifest)},
    }
    return _tar(files)


def digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _add(tar: tarfile.TarFile, path: str, content: Path | bytes | str) -> None:
    if isinstance(content, str):
        link = _entry(path, tarfile.SYMTYPE, 0o777)
        link.linkname = content
        tar.addfile(link)
        return
    data = content if isinstance(content, bytes) else content.read_bytes()
    runnable = isinstance(content, Path) and content.stat().st_mode & 0o100
    entry = _entry(path, tarfile.REGTYPE, 0o755 if runnable else 0o644)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))


def _entry(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.type, entry.mode = kind, mode
    return entry


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _named(blob: bytes, kind: str) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest(blob), "size": len(blob)}
