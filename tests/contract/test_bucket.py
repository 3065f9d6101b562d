"""What only a bucket can do wrong: keys, servers, networks, and answers that get lost."""

from __future__ import annotations

import errno
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from s3_server import S3Server, s3_server

from orchestrator.contract import ContractError, StoreError, open_store, prove_store
from orchestrator.contract.s3 import S3Store
from orchestrator.contract.s3_bucket import Bucket

MIB = 1024 * 1024


@pytest.fixture
def secret(object_storage: S3Server, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the secret `team-a`, which alone opens the bucket."""
    for name in object_storage.environment():
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AXO_SECRETS", str(tmp_path))
    fill(tmp_path / "team-a", object_storage.environment())
    return tmp_path / "team-a"


def fill(secret: Path, values: dict[str, str]) -> None:
    secret.mkdir(exist_ok=True)
    for name, value in values.items():
        (secret / name).write_text(value + "\n")


def in_small_parts(bucket: str) -> S3Store:
    return S3Store(Bucket(bucket, None, 0), "x", part_bytes=5 * MIB)


def test_what_is_large_goes_in_parts_and_comes_back(bucket: str, tmp_path: Path) -> None:
    content = bytes(range(256)) * (13 * MIB // 256) + b"end"
    (tmp_path / "in").write_bytes(content)
    store = in_small_parts(bucket)
    put = store.put(tmp_path / "in", "big")
    assert put == store.get("big", tmp_path / "out") == store.digest("big")
    assert (tmp_path / "out").read_bytes() == content
    assert b"".join(store.blocks("big", 4 * MIB, 11 * MIB)) == content[4 * MIB : 11 * MIB]
    assert len(list(store.blocks("big"))) == 3


def test_an_upload_that_breaks_off_leaves_no_object(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").write_bytes(b"\0" * 12 * MIB)
    send, forgotten = Bucket.send, []

    def breaks(self: Bucket, key: str, upload: str, number: int, data: bytes) -> object:
        if number == 2:
            raise OSError("cut")
        return send(self, key, upload, number, data)

    monkeypatch.setattr(Bucket, "send", breaks)
    monkeypatch.setattr(Bucket, "forget", lambda self, key, upload: forgotten.append(upload))
    with pytest.raises(OSError, match="cut"):
        in_small_parts(bucket).put(tmp_path / "in", "big")
    assert len(forgotten) == 1
    assert in_small_parts(bucket).keys() == []


def test_what_is_kept_stays_in_parts_too(bucket: str, tmp_path: Path) -> None:
    store = in_small_parts(bucket)
    store.write("big", b"first")
    (tmp_path / "in").write_bytes(b"\0" * 12 * MIB)
    assert store.put(tmp_path / "in", "big", keep=True).size == 5
    assert store.read("big") == b"first"


def test_a_secret_opens_it_and_a_changed_one_is_read_again(
    secret: Path, bucket: str, object_storage: S3Server
) -> None:
    store = open_store(f"s3://team-a@{bucket}/runs")
    assert store.url == f"s3://team-a@{bucket}/runs"
    store.write("a", b"1")
    held = open_store(f"s3://team-a@{bucket}/runs")
    fill(secret, object_storage.environment(secret="wrong"))
    broken = open_store(f"s3://team-a@{bucket}/runs")
    with pytest.raises(StoreError, match="the secret key is wrong"):
        broken.read("a")
    fill(secret, object_storage.environment())
    assert broken.read("a") == held.read("a") == b"1"


def test_each_refusal_says_what_where_and_what_to_do(
    secret: Path, bucket: str, object_storage: S3Server
) -> None:
    def told(url: str = f"s3://team-a@{bucket}/runs", **keys: str) -> str:
        fill(secret, {**object_storage.environment(), **keys})
        with pytest.raises(StoreError) as caught:
            open_store(url).write("a", b"1")
        assert "axo-root-secret" not in str(caught.value)
        assert caught.value.errno == errno.EIO
        return str(caught.value)

    assert "there is no such bucket" in told("s3://team-a@no-such-bucket/runs")
    assert "make it, or correct the storage URL" in told("s3://team-a@no-such-bucket/runs")
    assert "does not know the access key" in told(AWS_ACCESS_KEY_ID="nobody")
    assert "the secret key is wrong" in told(AWS_SECRET_ACCESS_KEY="guess")
    assert "no answer from http://127.0.0.1:9" in told(AWS_ENDPOINT_URL="http://127.0.0.1:9")
    assert object_storage.endpoint in told(AWS_ACCESS_KEY_ID="nobody")
    (secret / "AWS_ACCESS_KEY_ID").unlink()
    fill(secret, {"AWS_ENDPOINT_URL": object_storage.endpoint})
    (secret / "AWS_SECRET_ACCESS_KEY").unlink()
    with pytest.raises(StoreError, match=r"no keys open it here.*name a secret"):
        open_store(f"s3://team-a@{bucket}/runs").read("a")


def test_a_projects_keys_open_its_prefix_and_no_other(
    secret: Path, bucket: str, object_storage: S3Server
) -> None:
    for team in ("team-a", "team-b"):
        fill(secret.parent / team, object_storage.make_user(team, bucket, team))
    ours = open_store(f"s3://team-a@{bucket}/team-a")
    prove_store(ours)
    open_store(f"s3://team-b@{bucket}/team-b").write("secret", b"theirs")
    theirs = open_store(f"s3://team-a@{bucket}/team-b")
    for attempt in (partial(theirs.read, "secret"), partial(theirs.write, "a", b"1")):
        with pytest.raises(StoreError, match="access is refused"):
            attempt()


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("s3://AKIA:hush@bucket/x", "keys stand in the storage URL"),
        ("s3:///x", "not a storage URL"),
        ("s3://bucket/x?region=eu", "not a storage URL"),
        ("s3://bucket/a/../b", "not a storage key"),
        ("s3://nobody@bucket/x", "the secret 'nobody', which opens the storage, is not here"),
    ],
)
def test_a_url_that_is_none_is_refused(secret: Path, url: str, what: str) -> None:
    with pytest.raises(ContractError, match=what) as caught:
        open_store(url)
    assert "hush" not in str(caught.value)


def test_a_server_that_was_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server(tmp_path / "server") as server:
        server.make_bucket("axo-away")
    port = int(server.endpoint.rpartition(":")[2])
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StoreError, match="no answer"):
        open_store("s3://axo-away").write("a", b"1")
    waiting = threading.Thread(target=open_store("s3://axo-away", 60).write, args=("a", b"1"))
    waiting.start()
    with s3_server(tmp_path / "server", port=port):
        waiting.join(60)
        assert open_store("s3://axo-away").read("a") == b"1"


def test_a_created_object_is_ours_though_the_answer_got_lost(
    object_storage: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server has done it, the network loses its answer, the client asks again and hears that the key is
    there."""
    with losing_answers(object_storage.endpoint, 1) as (endpoint, lost):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        store = open_store(f"s3://{bucket}")
        assert store.create("claim", b"mine")
        assert lost == [1]
        assert not store.create("claim", b"mine")


def test_a_file_that_is_put_is_ours_though_the_answer_got_lost(
    object_storage: S3Server, bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "in").write_bytes(b"mine")
    with losing_answers(object_storage.endpoint, 1) as (endpoint, lost):
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        assert open_store(f"s3://{bucket}").put(tmp_path / "in", "file").size == 4
        assert lost == [1]


def test_a_server_that_ignores_the_condition_is_refused(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with careless_server() as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        with pytest.raises(ContractError, match=re.escape("ignores `If-None-Match: *`")):
            prove_store(open_store("s3://careless"))


@contextmanager
def losing_answers(endpoint: str, count: int) -> Iterator[tuple[str, list[int]]]:
    """A way to the server that passes on every request, and cuts the connection in place of first answers."""
    host, _, port = endpoint.removeprefix("http://").rpartition(":")
    lost: list[int] = []

    def carry(client: socket.socket) -> None:
        with client, socket.create_connection((host, int(port))) as server:
            back = threading.Thread(target=pour, args=(server, client))
            if len(lost) < count:
                lost.append(1)
                back = threading.Thread(target=server.recv, args=(1,))  # the answer, or its beginning
                back.start()
                pour_until(client, server, back)
                return
            back.start()
            pour(client, server)
            back.join()

    with socket.create_server((host, 0)) as listener:
        accepting = threading.Thread(target=accept, args=(listener, carry), daemon=True)
        accepting.start()
        yield f"http://{host}:{listener.getsockname()[1]}", lost
        listener.shutdown(socket.SHUT_RDWR)


def accept(listener: socket.socket, carry: Callable[[socket.socket], None]) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=carry, args=(client,), daemon=True).start()


def pour(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def pour_until(source: socket.socket, target: socket.socket, end: threading.Thread) -> None:
    source.settimeout(0.05)
    while end.is_alive():
        try:
            target.sendall(source.recv(65536))
        except TimeoutError:
            continue


class _Careless(BaseHTTPRequestHandler):
    """As much of S3 as a proof asks for, without its conditions."""

    protocol_version = "HTTP/1.1"

    def __init__(self, objects: dict[str, bytes], *arguments: object) -> None:
        self._objects = objects
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_PUT(self) -> None:
        self._objects[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200)

    def do_GET(self) -> None:
        data = self._objects[self.path]
        self._answer(206, data, {"Content-Range": f"bytes 0-{len(data) - 1}/{len(data)}"})

    def log_message(self, format: str, *arguments: object) -> None:
        """Nobody reads it."""

    def _answer(self, status: int, data: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"ETag": '"x"', "Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def careless_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Careless, {})) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
