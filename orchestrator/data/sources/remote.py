"""Sources elsewhere: whatever fsspec reads (`s3://`, `gs://`, `https://` ..) and data sets of the hub (`hf://`).

Each file is fetched once, into `$AXO_HOME/cache/sources`, under a name that says which revision it is: an
object's ETag or time of change, a data set's commit. Credentials are those of the environment, or of the
secret that the spec names: for S3 `AWS_ACCESS_KEY_ID` and its like, for the hub and for web servers `token`,
for anything else the options of its fsspec file system.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from orchestrator.data.sources.unpack import data_names
from orchestrator.errors import DataError, Fault
from orchestrator.home import home_of

# Where a key of an S3 secret goes among the options of s3fs.
_S3 = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token",
    "AWS_ENDPOINT_URL": "endpoint_url",
    "AWS_ENDPOINT_URL_S3": "endpoint_url",
}
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_LIBRARIES = {"s3": "axo-orchestrator[s3]", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
_MARKS = ("ETag", "etag", "VersionId", "LastModified", "last_modified", "mtime", "updated", "generation")


@dataclass(frozen=True)
class Fetched:
    """A file on this machine that came from elsewhere; `name` is what faults call it."""

    name: str
    path: Path
    revision: str | None


def is_remote(source: str) -> bool:
    return "://" in source


def cache_folder(environment: Mapping[str, str] | None = None) -> Path:
    return home_of(environment) / "cache" / "sources"


def fetch_objects(url: str, secret: Mapping[str, str], cache: Path, field: str) -> list[Fetched]:
    """The files that a URL means: one, the data files of a folder, or those of a pattern, sorted.

    Raises:
        DataError: there is none, access is refused, a library is missing, or the store cannot be reached.
        OSError: the cache cannot be written.
    """
    shown = without_query(url)
    if urlsplit(url).password:
        fix = "take it out, and name a secret: `{source: .., secret: ..}`"
        raise DataError([Fault("a password stands in the URL", fix, path=field)])
    system, path = _file_system(url, secret, field, shown)
    scheme = url.partition("://")[0]
    try:
        infos = _infos(system, path)
        if not infos:
            raise FileNotFoundError(path)
        return [
            _fetched(system, info, scheme, cache, alone=shown if len(infos) == 1 else None) for info in infos
        ]
    except Exception as error:  # each store has errors of its own
        if isinstance(error, OSError) and error.filename and str(cache) in str(error.filename):
            raise
        raise DataError([_refused(error, field, shown, named=bool(secret))]) from error


def without_query(url: str) -> str:
    """A URL as it may be shown: a signed one holds a key in its query."""
    return url.partition("?")[0] if url.startswith("http") else url


def _file_system(url: str, secret: Mapping[str, str], field: str, shown: str) -> tuple[Any, str]:
    import fsspec

    scheme = url.partition("://")[0]
    try:
        system, path = fsspec.core.url_to_fs(url, **_options(scheme, secret))
    except ImportError as error:
        library = _LIBRARIES.get(scheme, "the package that it names")
        fix = f"install it: `pip install '{library}'`" if scheme in _LIBRARIES else str(error)
        what = f"a library is missing that reads {scheme}://"
        raise DataError([Fault(what, fix, str(error), path=field, value=shown)]) from error
    except ValueError as error:
        fix = "give s3://, hf://, https:// or another kind that fsspec knows"
        raise DataError([Fault("URLs of this kind are not read", fix, path=field, value=shown)]) from error
    return system, path


def _options(scheme: str, secret: Mapping[str, str]) -> dict[str, Any]:
    if scheme in ("s3", "s3a"):
        options: dict[str, Any] = {_S3[key]: value for key, value in secret.items() if key in _S3}
        region = next((secret[key] for key in _REGIONS if key in secret), None)
        options |= {"client_kwargs": {"region_name": region}} if region else {}
        patience = {"connect_timeout": 10, "retries": {"max_attempts": 2}}
        fresh = {"skip_instance_cache": True, "use_listings_cache": False}
        return options | {"config_kwargs": patience, **fresh}
    if scheme in ("http", "https"):
        token = secret.get("token")
        return {"client_kwargs": {"headers": {"Authorization": f"Bearer {token}"}}} if token else {}
    return dict(secret)


def _infos(system: Any, path: str) -> list[dict[str, Any]]:
    if glob.has_magic(path):
        found = system.glob(path, detail=True).values()
        return sorted((info for info in found if info["type"] == "file"), key=lambda info: info["name"])
    info = system.info(path)
    if info["type"] == "file":
        return [info]
    inside = {entry["name"].rpartition("/")[2]: entry for entry in system.ls(path, detail=True)}
    files = [name for name, entry in inside.items() if entry["type"] == "file"]
    return [inside[name] for name in data_names(files)]


def _fetched(system: Any, info: Mapping[str, Any], scheme: str, cache: Path, *, alone: str | None) -> Fetched:
    """The file, from the cache where this very revision lies there."""
    mark = next((str(info[key]).strip('"') for key in _MARKS if info.get(key)), None)
    key = sha256(json.dumps([scheme, info["name"], info.get("size"), mark]).encode()).hexdigest()
    last = PurePosixPath(urlsplit(str(info["name"])).path).name or "data"
    target = cache / key / last
    if mark is None or not target.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{last}.{os.getpid()}.part")
        try:
            system.get_file(info["name"], str(part))
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    name = str(info["name"])
    return Fetched(alone or (name if "://" in name else f"{scheme}://{name}"), target, mark)


def _refused(error: Exception, field: str, shown: str, *, named: bool) -> Fault:
    """An error of a store in the user's words."""
    why = (str(error).strip().splitlines() or [type(error).__name__])[0]
    kind = type(error).__name__
    status = getattr(error, "status", None)
    if isinstance(error, FileNotFoundError) or status == 404:
        return Fault(
            "there is no such object, or no data file below it", "check the URL", path=field, value=shown
        )
    if isinstance(error, PermissionError) or "Credentials" in kind or status in (401, 403):
        fix = (
            "see that the secret's keys are right and may read it"
            if named
            else "name a secret that may read it: `{source: .., secret: ..}`, or set the store's variables"
        )
        return Fault("the store refuses access", fix, why, path=field, value=shown)
    return Fault(
        "the store cannot be read", "see that it can be reached, and try again", why, path=field, value=shown
    )
