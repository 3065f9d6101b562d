"""Storage in a bucket that speaks S3, at `s3://[<secret>@]<bucket>[/<prefix>]`.

Asked of the server: a listing that shows what was written before it, objects that appear whole, and
`If-None-Match: *` on PUT, by which one of many writers creates a key. `contract.prove_store` finds out, since
a server that ignores the last would break fencing in silence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit
from uuid import uuid4

from orchestrator.contract.s3_bucket import Bucket, Exists
from orchestrator.contract.store import (
    READ_BYTES,
    ContractError,
    File,
    Store,
    check_key,
    check_size,
    drained,
    hash_file,
)

PART_BYTES = 16 * 1024 * 1024
MAX_PARTS = 10_000
TRANSFERS = 4  # requests on their way at once, each with a part in memory
_WRITER = "axo-writer"
_A = TypeVar("_A")
_T = TypeVar("_T")


class S3Store:
    """A store below a prefix of a bucket; `part_bytes` is what one request carries at most."""

    def __init__(self, bucket: Bucket, prefix: str = "", part_bytes: int = PART_BYTES) -> None:
        self._bucket, self._prefix, self._part_bytes = bucket, prefix, part_bytes
        self.url = f"{bucket.url}/{quote(prefix)}".rstrip("/")

    @classmethod
    def at(cls, url: str, patience: float = 0.0) -> S3Store:
        """The store at a URL; while the server is away, requests are repeated for `patience` seconds.

        Raises:
            ContractError: it is no such URL, its secret is not here, or a library is missing.
        """
        parsed = urlsplit(url)
        secret, _, bucket = parsed.netloc.rpartition("@")
        if ":" in secret:
            raise ContractError(
                "keys stand in the storage URL; name a secret: s3://<secret>@<bucket>/<prefix>"
            )
        if not bucket or parsed.query or parsed.fragment:
            raise ContractError(f"not a storage URL: {url!r}; write s3://<bucket>/<prefix>")
        prefix = unquote(parsed.path).strip("/")
        if prefix:
            check_key(prefix)
        return cls(Bucket(bucket, unquote(secret) or None, patience), prefix)

    def read(self, key: str, start: int = 0) -> bytes:
        data = b"".join(self.blocks(key, start, start + READ_BYTES + 1))
        check_size(key, len(data))
        return data

    def blocks(self, key: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """What is large comes by several requests at once, all for the version that the first one saw."""
        name, step = self._key(key), self._part_bytes
        first = self._bucket.get(name, start, start + step if end is None else min(end, start + step))
        yield first.data
        last = first.size if end is None else min(end, first.size)
        places = range(start + len(first.data), last, step) if first.data else ()

        def block(at: int) -> bytes:
            return self._bucket.get(name, at, min(at + step, last), first.tag).data

        yield from _side_by_side(block, places)

    def write(self, key: str, data: bytes) -> None:
        self._bucket.put(self._key(key), data)

    def create(self, key: str, data: bytes) -> bool:
        """The object carries a word of this very call: where an answer got lost and the request came again,
        it tells whether the object that is there is ours."""
        name, word = self._key(key), uuid4().hex
        try:
            self._bucket.put(name, data, keep=True, notes={_WRITER: word})
        except Exists:
            return self._bucket.notes(name).get(_WRITER) == word
        return True

    def keys(self, prefix: str = "") -> list[str]:
        return list(self.sizes(prefix))

    def sizes(self, prefix: str = "") -> dict[str, int]:
        top = f"{self._prefix}/" if self._prefix else ""
        found = self._bucket.listing(f"{self._key(prefix)}/" if prefix else top)
        return dict(sorted((name[len(top) :], size) for name, size in found if not name.endswith("/")))

    def delete(self, *keys: str) -> None:
        for _ in _side_by_side(self._bucket.delete, [self._key(key) for key in keys]):
            pass

    def put(self, source: Path, key: str, *, keep: bool = False) -> File:
        """Where an answer got lost and the request came again, what is there may be ours."""
        name = self._key(key)
        if keep and self._bucket.has(name):
            return self.digest(key)
        try:
            return File(key, *self._send(source, name))
        except Exists:
            there = self.digest(key)
            if keep or there == hash_file(source, key):
                return there
            raise FileExistsError(key) from None

    def get(self, key: str, target: Path) -> File:
        blocks = self.blocks(key)
        first = next(blocks)  # before anything is made of an object that is not there
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(target, "wb") as writer:
            return File(key, *drained(chain([first], blocks), writer.write))

    def digest(self, key: str) -> File:
        return File(key, *drained(self.blocks(key)))

    def local(self, prefix: str) -> Path | None:
        return None

    def below(self, prefix: str) -> Store:
        return S3Store(self._bucket, self._key(prefix), self._part_bytes)

    def _key(self, key: str) -> str:
        check_key(key)
        return f"{self._prefix}/{key}" if self._prefix else key

    def _send(self, source: Path, name: str) -> tuple[int, str]:
        """Upload a file, in one request or in parts; the size and SHA-256 of what was sent."""
        step = max(self._part_bytes, -(-source.stat().st_size // MAX_PARTS))
        with open(source, "rb") as reader:
            first = reader.read(step)
            if len(first) < step:
                self._bucket.put(name, first, keep=True)
                return drained([first])
            parts = chain([first], iter(lambda: reader.read(step), b""))
            return self._send_parts(name, parts)

    def _send_parts(self, name: str, parts: Iterable[bytes]) -> tuple[int, str]:
        upload = self._bucket.begin(name)

        def send(numbered: tuple[int, bytes]) -> tuple[bytes, dict[str, Any]]:
            number, data = numbered
            return data, self._bucket.send(name, upload, number, data)

        sent: list[dict[str, Any]] = []

        def data_sent() -> Iterator[bytes]:
            for data, word in _side_by_side(send, enumerate(parts, start=1)):
                sent.append(word)
                yield data

        try:
            told = drained(data_sent())
            self._bucket.finish(name, upload, sent)
        except BaseException:
            with suppress(OSError):
                self._bucket.forget(name, upload)
            raise
        return told


def _side_by_side(work: Callable[[_A], _T], things: Iterable[_A]) -> Iterator[_T]:
    """The results of work on each thing, in order; a few are worked on at once, few wait to be taken."""
    things = iter(things)
    first = list(islice(things, 2))
    if len(first) < 2:
        yield from map(work, first)
        return
    things = chain(first, things)
    pool = ThreadPoolExecutor(TRANSFERS, "axo-storage")
    try:
        waiting = deque(pool.submit(work, thing) for thing in islice(things, TRANSFERS))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(pool.submit(work, thing) for thing in islice(things, 1))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
