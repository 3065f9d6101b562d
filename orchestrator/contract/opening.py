"""Which store a URL names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlparse

from orchestrator.contract.file_store import FileStore
from orchestrator.contract.store import ContractError, Store


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
