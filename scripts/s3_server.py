"""A server of one's own that speaks S3 (versitygw, over a folder), for tests and for trying things out.

    .venv/bin/python scripts/s3_server.py [FOLDER]     runs one until it is interrupted; prints how to use it

Built from its Go module the first time, into the cache: about a minute and a half of processor time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT_KEY, ROOT_SECRET, REGION = "axo-root", "axo-root-secret", "us-east-1"
_MODULE = Path(__file__).parent / "versitygw"
_PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
_READY_SECONDS = 20.0


class NoServer(Exception):
    """There is no S3 server on this machine; the message says how to get one."""


@dataclass(frozen=True)
class Grant:
    """What a user may do: list a bucket, and anything with objects below a prefix of it."""

    user: str
    bucket: str
    prefix: str

    @property
    def statements(self) -> list[dict[str, Any]]:
        who = {"Effect": "Allow", "Principal": {"AWS": [self.user]}}
        bucket = f"arn:aws:s3:::{self.bucket}"
        objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
        return [
            {**who, "Action": ["s3:ListBucket"], "Resource": [bucket]},
            {**who, "Action": objects, "Resource": [f"{bucket}/{self.prefix}/*"]},
        ]


@dataclass(frozen=True)
class S3Server:
    """A running server: its address, its process, and the folder that holds each bucket as a folder."""

    endpoint: str
    process: int
    folder: Path
    _users: list[Grant] = field(default_factory=list)

    def make_bucket(self, name: str) -> None:
        (self.folder / name).mkdir()

    def make_user(self, name: str, bucket: str, prefix: str) -> dict[str, str]:
        """A user who lists the bucket, and sees objects below the prefix alone; its environment."""
        secret = f"{name}-secret"
        self._admin("create-user", "--access", name, "--secret", secret, "--role", "user")
        self._users.append(Grant(name, bucket, prefix))
        grants = [each for each in self._users if each.bucket == bucket]
        statements = [statement for each in grants for statement in each.statements]
        root = self.client()
        root.put_bucket_policy(
            Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements})
        )
        return self.environment(name, secret)

    def _admin(self, *arguments: str) -> None:
        told = ["--access", ROOT_KEY, "--secret", ROOT_SECRET, "--endpoint-url", self.endpoint]
        subprocess.run([program(), "admin", *told, *arguments], check=True, capture_output=True)

    def client(self) -> Any:
        """A client of botocore's with the rights of root."""
        from botocore.session import get_session

        return get_session().create_client(
            "s3",
            region_name=REGION,
            endpoint_url=self.endpoint,
            aws_access_key_id=ROOT_KEY,
            aws_secret_access_key=ROOT_SECRET,
        )

    def environment(self, key: str = ROOT_KEY, secret: str = ROOT_SECRET) -> dict[str, str]:
        """What a client's environment or secret has to hold."""
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
        }


def program() -> Path:
    """The server's program, built where it is not there yet; a second caller waits for the first.

    Raises:
        NoServer: it is not there, and Go is not either.
    """
    sources = b"".join((_MODULE / name).read_bytes() for name in ("go.mod", "go.sum"))
    cache = Path(os.environ.get("AXO_CACHE") or Path.home() / ".cache" / "axo")
    target = cache / f"versitygw-{hashlib.sha256(sources).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "versitygw.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _build(target)
    return target


@contextmanager
def s3_server(folder: Path | None = None, *, address: str = "127.0.0.1", port: int = 0) -> Iterator[S3Server]:
    """A running server, stopped afterwards; over a folder that is removed then, where none is given."""
    place = folder or Path(tempfile.mkdtemp(prefix="axo-s3-"))
    try:
        endpoint, process = start(place, address, port)
        try:
            yield S3Server(endpoint, process.pid, place / "buckets")
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.wait()
    finally:
        if folder is None:
            shutil.rmtree(place, ignore_errors=True)


def start(place: Path, address: str, port: int) -> tuple[str, subprocess.Popen[bytes]]:
    """Start a server over a folder; its endpoint and process."""
    port = port or _free_port(address)
    buckets, users = place / "buckets", place / "users"
    for each in (buckets, users):
        each.mkdir(parents=True, exist_ok=True)
    command = [program(), "--quiet", "--keep-alive", "--port", f"{address}:{port}", "--region", REGION]
    with (place / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [*map(str, command), "--iam-dir", str(users), "posix", str(buckets)],
            env={**os.environ, "ROOT_ACCESS_KEY": ROOT_KEY, "ROOT_SECRET_KEY": ROOT_SECRET},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _wait_until_it_answers(process, address, port, place / "log.txt")
    return f"http://{address}:{port}", process


def _wait_until_it_answers(process: subprocess.Popen[bytes], address: str, port: int, log: Path) -> None:
    end = time.monotonic() + _READY_SECONDS
    while process.poll() is None and time.monotonic() < end:
        with suppress(OSError), socket.create_connection((address, port), 1):
            return
        time.sleep(0.05)
    process.kill()
    process.wait()
    raise RuntimeError(f"versitygw does not answer: {log.read_text()[-2000:]}")


def _build(target: Path) -> None:
    if not shutil.which("go"):
        raise NoServer("an S3 server is built with Go 1.26 or newer: https://go.dev/dl")
    print("building versitygw; the first time takes a minute or two", file=sys.stderr, flush=True)
    fresh = target.with_suffix(".new")
    flags = ["-trimpath", "-buildvcs=false", "-ldflags", "-s -w"]
    subprocess.run(
        ["go", "build", *flags, "-o", str(fresh), _PACKAGE],
        cwd=_MODULE,
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly"},
        check=True,
        stdout=sys.stderr,
    )
    fresh.rename(target)


def _free_port(address: str) -> int:
    with socket.socket() as free:
        free.bind((address, 0))
        return int(free.getsockname()[1])


def main() -> None:
    folder = Path(sys.argv[1]).absolute() if len(sys.argv) > 1 else None
    with suppress(KeyboardInterrupt), s3_server(folder) as server:
        server.make_bucket("axo") if not (server.folder / "axo").exists() else None
        for name, value in server.environment().items():
            print(f"export {name}={value}")
        print("export AXO_STORAGE=s3://axo/storage", flush=True)
        signal.pause()


if __name__ == "__main__":
    main()
