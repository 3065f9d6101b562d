"""Bundles of uploaded files: what anybody may write into one is refused in words, not by an inner error."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

import pytest

from orchestrator import uploads
from orchestrator.contract import ContractError, FileStore

DIGEST = "0" * 64


def bundle(store: FileStore, data: bytes) -> str:
    digest = sha256(data).hexdigest()
    uploads.write_part(store, digest, 0, data)
    assert uploads.commit(store, digest, len(data))
    return digest


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"a": "../other/" + DIGEST}, "no content"),
        ({"a": "x\0"}, "no content"),
        ({"a": "\ud800"}, "no content"),
        ({"a": [DIGEST]}, "no content"),
        ({"../a": DIGEST}, "lead elsewhere"),
        ({"a": DIGEST, "a/b/c": DIGEST}, "file inside of a file"),
        ([], "no bundle"),
    ],
)
def test_what_no_bundle_may_say(tmp_path: Path, files: object, why: str) -> None:
    store = FileStore(tmp_path)
    with pytest.raises(ContractError, match=why):
        uploads.read_bundle(store, bundle(store, json.dumps({"files": files}).encode()))


def test_a_bundle_without_end(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    with pytest.raises(ContractError, match="no bundle"):
        uploads.read_bundle(store, bundle(store, b"[" * 200_000))


def test_a_bundle_tells_what_is_not_there(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    digest = bundle(store, uploads.bundle_text({"a": DIGEST, "b/c": DIGEST}))
    assert uploads.lacking(store, uploads.Upload(digest, "x", bundle=True)) == ["a", "b/c"]
