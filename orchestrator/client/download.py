"""Fetch the files of a finished adapter: each checked by its digest, and on after the network was cut."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import httpx

from orchestrator import wire
from orchestrator.client.connection import OpenStream
from orchestrator.client.patience import Passing, Wait
from orchestrator.errors import RegistryError, UnreachableError

Told = Callable[[int], None]


def fetch_file(
    open_stream: OpenStream,
    file: wire.AdapterFile,
    target: Path,
    told: Told,
    wait: Wait,
) -> None:
    """Write a file to `target`, checked; `told` hears of the bytes as they come.

    Raises:
        RegistryError: what came is not the file.
        UnreachableError: the service stays away.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as writer:
        part = _Part(file, writer, told)
        while part.have < file.size:
            before = part.have
            try:
                with open_stream(part.wanted, {}) as answer:
                    part.take(answer)
                break
            except Passing as failure:
                if part.have > before:
                    wait.over()
                what = f"{file.path} did not come whole: {failure.error}"
                wait.after(Passing(UnreachableError(what, hint="try again"), failure.least))
    if not part.whole:
        hint = "`axo verify` tells what is wrong with it"
        raise RegistryError(f"{file.path} is not what the run made", hint=hint)


class _Part:
    """What has come of a file."""

    def __init__(self, file: wire.AdapterFile, writer: BinaryIO, told: Told) -> None:
        self._file, self._writer, self._told = file, writer, told
        self._digest, self.have = hashlib.sha256(), 0

    @property
    def wanted(self) -> dict[str, str]:
        """The headers that ask for the rest of this very content, byte by byte as it is."""
        plain = {"Accept-Encoding": "identity"}
        if not self.have:
            return plain
        return {**plain, "Range": f"bytes={self.have}-", "If-Range": f'"{self._file.sha256}"'}

    @property
    def whole(self) -> bool:
        return (self.have, self._digest.hexdigest()) == (self._file.size, self._file.sha256)

    def take(self, answer: httpx.Response) -> None:
        """Take in an answer: from its beginning where it is no range, as through a proxy without them."""
        if self.have and answer.status_code != httpx.codes.PARTIAL_CONTENT:
            self._told(-self.have)
            self._digest, self.have = hashlib.sha256(), 0
            self._writer.seek(0)
            self._writer.truncate()
        for block in answer.iter_raw():
            self._digest.update(block)
            self._writer.write(block)
            self.have += len(block)
            self._told(len(block))
