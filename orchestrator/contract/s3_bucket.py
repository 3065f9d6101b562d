"""The requests that storage makes of a bucket: repeated while the server is away, errors in our words.

Keys are those of the environment, found as every AWS tool finds them, or those of a secret: the folder of its
name in `AXO_SECRETS`, with the files `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, where there is one,
`AWS_SESSION_TOKEN`; `AWS_ENDPOINT_URL` and `AWS_REGION` may lie there too.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from orchestrator.contract.s3_errors import in_our_words
from orchestrator.contract.store import ContractError, StorageAway, StorageRefused

CONNECT_SECONDS, READ_SECONDS = 5, 30
TRIES = 3  # of one request, one soon after the other
CONNECTIONS = 16
_WAITS = (1.0, 2.0, 4.0, 8.0, 15.0)
_NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_REGION")

Keys = tuple[tuple[str, str], ...]


class Exists(Exception):
    """An object that was to be created is there already."""


@dataclass(frozen=True)
class Range:
    """Bytes of an object, the size of all of it, and the tag of the version they are of."""

    data: bytes
    size: int
    tag: str


class Bucket:
    """A bucket, opened by the keys of a secret or by those of the environment.

    Its methods raise StorageAway and StorageRefused, which are OSErrors.
    """

    def __init__(self, name: str, secret: str | None, patience: float) -> None:
        self.url = f"s3://{secret}@{name}" if secret else f"s3://{name}"
        self._name, self._secret, self._patience = name, secret, patience
        self._keys = _read_keys(secret)
        self._client()  # a library or a profile that is missing is told at once

    def get(self, key: str, start: int, end: int, tag: str | None = None) -> Range:
        """The bytes from `start` up to `end`, fewer where the object ends; of the version `tag`, if given.

        Raises:
            FileNotFoundError: there is no such object.
        """
        version = {"IfMatch": tag} if tag else {}
        try:
            answer = self._ask("get_object", key, Range=f"bytes={start}-{end - 1}", **version)
        except StorageRefused as refusal:
            if refusal.code != "InvalidRange":
                raise
            return Range(b"", start, "")  # it has no byte there
        size = answer.get("ContentRange", "").rpartition("/")[2]
        return Range(answer["Body"], int(size or len(answer["Body"])), answer["ETag"])

    def has(self, key: str) -> bool:
        return any(name == key for name, _ in self.listing(key))

    def notes(self, key: str) -> Mapping[str, str]:
        """What was noted beside an object."""
        noted: Mapping[str, str] = self._ask("head_object", key)["Metadata"]
        return noted

    def put(
        self, key: str, data: bytes, *, keep: bool = False, notes: Mapping[str, str] | None = None
    ) -> None:
        """Write an object, and notes beside it.

        Raises:
            Exists: it is to be kept, and is there.
        """
        with _keeping():
            self._ask("put_object", key, Body=data, Metadata=notes or {}, **_unless_there(keep=keep))

    def listing(self, prefix: str) -> Iterator[tuple[str, int]]:
        """Names and sizes of all objects whose names begin so."""
        more: dict[str, str] = {}
        while True:
            page = self._ask("list_objects_v2", None, Prefix=prefix, **more)
            for each in page.get("Contents", ()):
                yield each["Key"], each["Size"]
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def delete(self, key: str) -> None:
        self._ask("delete_object", key)

    def begin(self, key: str) -> str:
        """Begin an upload in parts; its id."""
        return str(self._ask("create_multipart_upload", key)["UploadId"])

    def send(self, key: str, upload: str, number: int, data: bytes) -> dict[str, Any]:
        """Send a part, numbered from 1; the word for it that `finish` wants."""
        sent = self._ask("upload_part", key, UploadId=upload, PartNumber=number, Body=data)
        return {"PartNumber": number, "ETag": sent["ETag"]}

    def finish(self, key: str, upload: str, parts: Sequence[Mapping[str, Any]]) -> None:
        """Let the parts be the object. Raises Exists where one is there."""
        with _keeping():
            self._ask(
                "complete_multipart_upload",
                key,
                UploadId=upload,
                MultipartUpload={"Parts": [*parts]},
                **_unless_there(keep=True),
            )

    def forget(self, key: str, upload: str) -> None:
        """Give up an upload."""
        self._ask("abort_multipart_upload", key, UploadId=upload)

    def _ask(self, operation: str, key: str | None, **arguments: Any) -> dict[str, Any]:
        """The answer to a request, its body read, asked for again as long as our patience goes."""
        end = time.monotonic() + self._patience
        named = {"Bucket": self._name} | ({"Key": key} if key is not None else {})
        waits = chain(_WAITS, repeat(_WAITS[-1]))
        while True:
            try:
                return self._once(operation, key, {**named, **arguments})
            except StorageAway:
                wait = next(waits)
                if time.monotonic() + wait > end:
                    raise
                time.sleep(wait)
            except StorageRefused:
                if (fresh := _read_keys(self._secret)) == self._keys:
                    raise
                self._keys = fresh  # they were changed while we held the old ones

    def _once(self, operation: str, key: str | None, arguments: Mapping[str, Any]) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        client = self._client()
        try:
            answer: dict[str, Any] = getattr(client, operation)(**arguments)
            if "Body" in answer:
                answer["Body"] = answer["Body"].read()
        except (BotoCoreError, ClientError) as error:
            raise in_our_words(error, self.url, key or "", client.meta.endpoint_url) from error
        return answer

    def _client(self) -> Any:
        return _client(self._keys, os.getpid(), _surroundings())


@contextmanager
def _keeping() -> Iterator[None]:
    """Turns the refusal of what is there already into Exists."""
    try:
        yield
    except StorageRefused as refusal:
        if refusal.code != "PreconditionFailed":
            raise
        raise Exists from refusal


def _unless_there(*, keep: bool) -> dict[str, str]:
    return {"IfNoneMatch": "*"} if keep else {}


def _read_keys(secret: str | None) -> Keys:
    """The values of a secret; none where the environment's own are meant.

    Raises:
        ContractError: there is no such secret here.
    """
    if secret is None:
        return ()
    home = Path(os.environ.get("AXO_HOME") or Path.home() / ".axo")
    folder = Path(os.environ.get("AXO_SECRETS") or home / "secrets") / secret
    files = [folder / name for name in _NAMES]
    found = tuple((file.name, file.read_text().strip()) for file in files if file.is_file())
    if not found:
        raise ContractError(
            f"the secret {secret!r}, which opens the storage, is not here: make the folder {folder} "
            "with the files AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return found


def _surroundings() -> Keys:
    """What of the environment AWS clients go by."""
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


@lru_cache(maxsize=32)
def _client(keys: Keys, _process: int, _surroundings: Keys) -> Any:
    """A client; one for each process, since a forked one must not use its parent's connections.

    Bodies are signed by their SHA-256, so that the server takes nothing that was damaged on its way; the
    newer checksums are left out, which not every server knows.

    Raises:
        ContractError: botocore is missing, or the AWS settings of this process are wrong.
    """
    try:
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
        from botocore.session import get_session
    except ImportError as error:
        raise ContractError("storage at s3:// needs botocore: pip install 'axo-orchestrator[s3]'") from error
    values = dict(keys)
    config = Config(
        signature_version="s3v4",
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        max_pool_connections=CONNECTIONS,
        s3={"payload_signing_enabled": True},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    try:
        session = get_session()
        region = values.get("AWS_REGION") or os.environ.get("AWS_REGION")
        return session.create_client(
            "s3",
            region_name=region or session.get_config_variable("region") or "us-east-1",
            endpoint_url=values.get("AWS_ENDPOINT_URL"),
            aws_access_key_id=values.get("AWS_ACCESS_KEY_ID"),
            aws_secret_access_key=values.get("AWS_SECRET_ACCESS_KEY"),
            aws_session_token=values.get("AWS_SESSION_TOKEN"),
            config=config,
        )
    except (BotoCoreError, ValueError) as error:
        raise ContractError(f"the AWS settings of this process cannot be used: {error}") from error
