"""Uploads through the client: only what is missing goes, what is not the content announced never counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner
from stored_run import store_run

from orchestrator import uploads, wire
from orchestrator.api.app import make_app
from orchestrator.cli import axo
from orchestrator.client import Client
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.client.patience import FOLLOW_SECONDS
from orchestrator.client.upload import upload
from orchestrator.contract import hash_file
from orchestrator.controller.removals import Removals
from orchestrator.db import Database, File
from orchestrator.errors import (
    AuthError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    QuotaError,
    SpecError,
    TooLargeError,
    UnreachableError,
)
from orchestrator.host import Host, open_host
from orchestrator.runs import Status
from orchestrator.service import Access, Caller, Role
from orchestrator.service.files import ABANDONED_SECONDS
from orchestrator.settings import Settings

PART, DAY = 1000, 86_400.0


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PART_BYTES", PART)


@pytest.fixture
def now() -> list[float]:
    return [1_000.0]


@pytest.fixture
def host(tmp_path: Path, now: list[float]) -> Iterator[Host]:
    settings = Settings.from_environment({"AXO_HOME": str(tmp_path / "home")})
    settings = dataclasses.replace(settings, max_file_bytes=20 * PART, max_project_bytes=25 * PART)
    with open_host(settings, lambda: now[0]) as opened:
        yield opened


def asking(host: Host, caller: Caller | None = None) -> Client:
    return Client("http://embedded", transport=EmbeddedTransport(make_app(host.service, caller or Caller())))


@pytest.fixture
def client(host: Host) -> Iterator[Client]:
    with asking(host) as client:
        yield client


def written(folder: Path, size: int, seed: int = 0) -> tuple[Path, str, int]:
    path = folder / f"{seed}.bin"
    path.write_bytes(bytes((seed + i * i) % 251 for i in range(size)))
    file = hash_file(path, path.name)
    return path, file.sha256, file.size


@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, 5 * PART])
def test_a_file_arrives_as_it_was(host: Host, client: Client, tmp_path: Path, size: int) -> None:
    path, digest, _ = written(tmp_path, size)
    assert upload(client, path, digest, size) == size
    store = host.service.files._store(Caller())
    uploads.fetch(store, uploads.Upload(digest, "0.bin"), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == path.read_bytes()
    assert client.begin_file(digest, size).complete


def test_what_is_there_is_not_sent_again(client: Client, tmp_path: Path) -> None:
    path, digest, size = written(tmp_path, 3 * PART)
    assert [upload(client, path, digest, size), upload(client, path, digest, size)] == [size, 0]


class CutClient(Client):
    """A client whose network fails at some of its parts."""

    failures: int = 0

    def put_part(self, sha256: str, part: int, data: bytes) -> None:
        if part % 2 and self.failures:
            self.failures -= 1
            raise UnreachableError("cut")
        super().put_part(sha256, part, data)


def test_a_cut_upload_goes_on_with_the_missing_parts(host: Host, tmp_path: Path) -> None:
    path, digest, size = written(tmp_path, 8 * PART)
    pauses: list[float] = []
    told: list[int] = []
    with cut_client(host, pauses.append) as cut:
        cut.failures = 3
        assert upload(cut, path, digest, size, told.append) == size
        assert (len(pauses), sum(told)) == (3, size)


def cut_client(host: Host, sleep: Callable[[float], None]) -> CutClient:
    transport = EmbeddedTransport(make_app(host.service, Caller()))
    return CutClient("http://embedded", transport=transport, sleep=sleep)


def test_what_arrived_is_kept_when_the_network_stays_away(host: Host, tmp_path: Path) -> None:
    path, digest, size = written(tmp_path, 4 * PART)
    pauses: list[float] = []
    with cut_client(host, pauses.append) as cut:
        cut.failures = 1000
        with pytest.raises(UnreachableError) as caught:
            upload(cut, path, digest, size)
        assert "goes on from there" in str(caught.value.hint)
        assert FOLLOW_SECONDS - 15 < sum(pauses) <= FOLLOW_SECONDS
        cut.failures = 0
        assert upload(cut, path, digest, size) == 3 * PART


def test_what_is_not_the_content_announced_never_counts(client: Client, tmp_path: Path) -> None:
    path, _, size = written(tmp_path, 2 * PART)
    wrong = sha256(b"another").hexdigest()
    with pytest.raises(ConflictError, match="another"):
        upload(client, path, wrong, size)
    state = client.begin_file(wrong, size)
    assert (state.missing, state.complete) == ([0, 1], False)


def test_a_file_with_missing_parts_is_not_finished(client: Client, tmp_path: Path) -> None:
    path, digest, size = written(tmp_path, 3 * PART)
    client.begin_file(digest, size)
    client.put_part(digest, 1, path.read_bytes()[PART : 2 * PART])
    with pytest.raises(ConflictError, match="2 parts are missing, 0 the first"):
        client.finish_file(digest)


@pytest.mark.parametrize(("part", "length"), [(0, PART - 1), (2, PART), (7, 1)])
def test_a_part_has_its_size_and_its_place(client: Client, tmp_path: Path, part: int, length: int) -> None:
    _, digest, size = written(tmp_path, 2 * PART + 5)
    client.begin_file(digest, size)
    with pytest.raises(SpecError):
        client.put_part(digest, part, b"x" * length)


def test_a_part_larger_than_any_is_refused_while_it_comes(client: Client, tmp_path: Path) -> None:
    _, digest, size = written(tmp_path, PART)
    client.begin_file(digest, size)
    with pytest.raises(TooLargeError):
        client.put_part(digest, 0, b"x" * (5 << 20))


def test_bounds_on_a_file_and_on_a_project(client: Client) -> None:
    with pytest.raises(TooLargeError):
        client.begin_file("a" * 64, 20 * PART + 1)
    client.begin_file("a" * 64, 15 * PART)
    with pytest.raises(QuotaError):
        client.begin_file("b" * 64, 11 * PART)
    client.begin_file("c" * 64, 10 * PART)
    with pytest.raises(ConflictError, match="was announced with"):
        client.begin_file("c" * 64, 9 * PART)


def test_an_abandoned_file_makes_room_and_can_be_sent_again_once_it_is_gone(
    host: Host, client: Client, now: list[float], tmp_path: Path
) -> None:
    path, digest, size = written(tmp_path, 20 * PART)
    client.begin_file(digest, size)
    client.put_part(digest, 0, path.read_bytes()[:PART])
    now[0] += ABANDONED_SECONDS + 1
    client.begin_file("b" * 64, 20 * PART)
    with pytest.raises(NotFoundError):
        client.put_part(digest, 1, path.read_bytes()[PART : 2 * PART])
    client.delete_file("b" * 64)
    with pytest.raises(ConflictError, match="is being removed"):
        client.begin_file(digest, size)
    Removals(host.service.database, lambda: now[0]).turn()
    assert client.begin_file(digest, size).missing == list(range(20))
    assert upload(client, path, digest, size) == size


def test_who_comes_back_after_days_goes_on_with_what_has_arrived(
    client: Client, now: list[float], tmp_path: Path
) -> None:
    path, digest, size = written(tmp_path, 3 * PART)
    client.begin_file(digest, size)
    client.put_part(digest, 1, path.read_bytes()[PART : 2 * PART])
    now[0] += 2 * ABANDONED_SECONDS
    assert client.begin_file(digest, size).missing == [0, 2]
    assert upload(client, path, digest, size) == 2 * PART


@pytest.mark.parametrize("finished", [True, False])
def test_a_file_that_is_wanted_while_abandoned_ones_are_cleared_stays(
    host: Host,
    client: Client,
    now: list[float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    finished: bool,
) -> None:
    """It was among them when they were looked for."""
    path, digest, size = written(tmp_path, 2 * PART)
    client.begin_file(digest, size)
    for part in range(2):
        client.put_part(digest, part, path.read_bytes()[part * PART : (part + 1) * PART])
    now[0] += ABANDONED_SECONDS + 1
    look = Database.abandoned_files

    def look_and_wait(self: Database, project: str, before: float) -> list[File]:
        found = look(self, project, before)
        client.finish_file(digest) if finished else client.put_part(digest, 1, path.read_bytes()[PART:])
        return found

    with monkeypatch.context() as waiting:
        waiting.setattr(Database, "abandoned_files", look_and_wait)
        client.begin_file("b" * 64, 1)
    Removals(host.service.database, lambda: now[0]).turn()
    assert client.file(digest).missing == []
    assert client.finish_file(digest).complete
    store = host.service.files._store(Caller())
    uploads.fetch(store, uploads.Upload(digest, "0.bin"), tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == path.read_bytes()


def test_a_file_that_takes_days_to_come_is_not_abandoned(
    client: Client, now: list[float], tmp_path: Path
) -> None:
    path, digest, size = written(tmp_path, 3 * PART)
    client.begin_file(digest, size)
    for part in range(3):
        now[0] += 0.6 * ABANDONED_SECONDS
        client.put_part(digest, part, path.read_bytes()[part * PART : (part + 1) * PART])
        client.begin_file(f"{part}" * 64, 1)  # which clears what was abandoned
    assert client.finish_file(digest).complete


class ExpiringClient(Client):
    """Its key expires after two parts."""

    now: list[float]
    parts = 0

    def put_part(self, sha256: str, part: int, data: bytes) -> None:
        if self.parts == 2:
            self.now[0] += 2 * DAY
        super().put_part(sha256, part, data)
        self.parts += 1


def test_an_upload_whose_key_expires_goes_on_with_another_key(
    host: Host, now: list[float], tmp_path: Path
) -> None:
    path, digest, size = written(tmp_path, 5 * PART)
    asked = (wire.KeyAsked(name="ci", role="submitter", days=days) for days in (1, 9))
    old, new = (host.service.keys.create(Caller(), each).key for each in asked)
    app = make_app(host.service, Access(host.service.database, lambda: now[0]))
    with ExpiringClient("http://embedded", old, transport=EmbeddedTransport(app)) as client:
        client.now = now
        with pytest.raises(AuthError, match="has expired or was revoked"):
            upload(client, path, digest, size)
    with Client("http://embedded", new, transport=EmbeddedTransport(app)) as client:
        assert client.begin_file(digest, size).missing == [2, 3, 4]
        assert upload(client, path, digest, size) == 3 * PART


def test_files_are_listed_looked_at_and_deleted(client: Client, tmp_path: Path) -> None:
    path, digest, size = written(tmp_path, 2 * PART)
    upload(client, path, digest, size)
    assert [(file.sha256, file.complete) for file in client.files()] == [(digest, True)]
    assert client.file(digest) == client.files()[0]
    client.delete_file(digest)
    assert client.files() == []
    with pytest.raises(NotFoundError):
        client.file(digest)


def test_a_file_that_a_run_has_yet_to_read_is_not_deleted(host: Host, client: Client, tmp_path: Path) -> None:
    path, digest, size = written(tmp_path, 2 * PART)
    upload(client, path, digest, size)
    bundle = uploads.bundle_text({"a.csv": digest})
    listed = sha256(bundle).hexdigest()
    client.begin_file(listed, len(bundle))
    client.put_part(listed, 0, bundle)
    client.finish_file(listed)
    database = host.service.database
    for address in (f"upload://{digest}/a.csv", f"upload://{listed}/folder/"):
        run = store_run(tmp_path / "home", f"r{address[-2]}-aaaaa", status=Status.PREPARING, facts={})
        database.update(run, uploads={"dataset.source": address})
        with pytest.raises(ConflictError, match=f"{run.id} has yet to read it"):
            client.delete_file(digest)
        database.add_facts(database.run(run.id), {"dataset": "d" * 64})
    client.delete_file(digest)
    assert digest not in {file.sha256 for file in client.files()}


def test_a_deletion_that_dies_half_way_leaves_a_file_to_be_sent_again(
    host: Host, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, digest, size = written(tmp_path, 2 * PART)
    upload(client, path, digest, size)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(host.service.database.__class__, "forget_file", die)
        with pytest.raises(KeyboardInterrupt):
            host.service.files.delete(Caller(), digest)
    assert client.begin_file(digest, size).missing == [0, 1]
    upload(client, path, digest, size)
    assert client.file(digest).complete


def test_uploads_are_listed_and_deleted_by_command(
    host: Host, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AXO_HOME", str(host.service.settings.home))
    monkeypatch.setenv("COLUMNS", "80")
    path, digest, size = written(tmp_path, 2 * PART)
    upload(client, path, digest, size)
    listed = CliRunner().invoke(axo, ["datasets", "uploads"])
    assert digest[:12] in listed.stdout
    assert "whole" in listed.stdout
    assert isinstance(CliRunner().invoke(axo, ["datasets", "delete", "f" * 9, "-y"]).exception, NotFoundError)
    assert CliRunner().invoke(axo, ["datasets", "delete", digest[:5], "-y"]).exit_code == 2
    assert CliRunner().invoke(axo, ["datasets", "delete", digest[:8]]).exit_code == 2, "nobody to ask"
    done = CliRunner().invoke(axo, ["datasets", "delete", digest[:8], digest, "--yes"])
    assert done.stdout == f"{digest} deleted\n"
    assert client.files() == []


def test_another_project_has_files_of_its_own(host: Host, client: Client, tmp_path: Path) -> None:
    path, digest, size = written(tmp_path, PART)
    upload(client, path, digest, size)
    with asking(host, Caller(project="theirs")) as other:
        assert other.begin_file(digest, size).missing == [0]
    with asking(host, Caller(role=Role.VIEWER)) as viewer, pytest.raises(ForbiddenError):
        viewer.begin_file(digest, size)


def test_the_wire_tells_what_is_there(client: Client) -> None:
    told = client.begin_file("a" * 64, 2 * PART)
    assert told == wire.File(
        sha256="a" * 64, size=2 * PART, part_size=PART, missing=[0, 1], complete=False, created=1_000.0
    )
