"""`axo admin` on a home: a backup goes into another database, and every refusal says what to do."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from stored_run import store_run

from orchestrator.cli import axo
from orchestrator.cli.failure import error_data
from orchestrator.db import Change, Key, connected, opened
from orchestrator.db.migrate import HEAD, upgrade, version
from orchestrator.errors import ConflictError, DatabaseError, NotFoundError, SettingsError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AXO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_audit_log_tells_from_where_changes_came(home: Path) -> None:
    with opened(f"sqlite:///{home / 'axo.db'}") as database:
        for subject, address in (("one", "192.0.2.7"), ("two", "")):
            change = Change(1_000.0, "ann", "default", "key.revoke", subject, "r", address)
            database.by(change).note_key_used(
                Key(subject, "default", "ci", "viewer", "0" * 64, 0.0, "me"), 9e5
            )
    shown = admin("audit", "list", "-o", "wide").stdout.splitlines()
    assert [re.split(" {2,}", line)[3] for line in shown] == ["FROM", "-", "192.0.2.7"]
    only = json.loads(admin("audit", "list", "--from", "192.0.2.7", "-o", "json").stdout)
    assert [(row["subject"], row["address"]) for row in only] == [("one", "192.0.2.7")]
    proven = admin("audit", "verify")
    assert "2 changes, none of them touched" in proven.stderr
    assert admin("audit", "verify", "--noted", proven.stdout.strip()).exit_code == 0


def test_a_noted_digest_that_is_cut_short_is_no_broken_log(home: Path) -> None:
    cut = admin("audit", "verify", "--noted", "5f2a91c0")
    assert (cut.exit_code, "64 characters" in cut.stderr) == (2, True)
    other = admin("audit", "verify", "--noted", "f" * 64)
    assert "no row has the digest that was noted" in str(other.exception)


def test_a_file_that_is_no_database_is_told_once_and_is_not_to_be_tried_again(home: Path) -> None:
    home.mkdir()
    (home / "axo.db").write_text("a note of mine, longer than the head of a database\n" * 50)
    done = admin("audit", "list")
    assert isinstance(done.exception, DatabaseError)
    assert "file is not a database" in str(done.exception)
    assert "another file" in str(done.exception.hint)
    assert done.stderr == ""


def admin(*arguments: str) -> Result:
    return CliRunner().invoke(axo, ["admin", *arguments])


def test_a_database_of_an_older_release_is_backed_up_before_it_is_migrated(
    home: Path, tmp_path: Path
) -> None:
    url, file = f"sqlite:///{home / 'axo.db'}", tmp_path / "before.axo"
    home.mkdir()
    with connected(url) as database:
        upgrade(database, "0001")
    assert admin("backup", str(file)).exit_code == 0
    with connected(url) as database, database.reading() as connection:
        assert version(connection) == "0001"


def test_where_nothing_is_nothing_is_backed_up(home: Path, tmp_path: Path) -> None:
    assert isinstance(admin("backup", str(tmp_path / "a.axo")).exception, NotFoundError)
    assert not (home / "axo.db").exists()
    home.mkdir(exist_ok=True)
    (home / "axo.db").touch()
    assert isinstance(admin("backup", str(tmp_path / "a.axo")).exception, NotFoundError)
    assert [each.name for each in tmp_path.iterdir()] == ["home"]


def test_a_backup_goes_into_another_database(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_run(home, "triage-abcde")
    file = tmp_path / "all.axo"
    done = admin("backup", str(file))
    assert (done.exit_code, done.stdout) == (0, "")
    assert " 1 runs," in done.stderr
    again = admin("backup", str(file))
    assert isinstance(again.exception, ConflictError)
    assert isinstance(admin("restore", str(file)).exception, ConflictError), "this home has something in it"
    other = f"sqlite:///{tmp_path / 'other.db'}"
    monkeypatch.setenv("AXO_DATABASE", other)
    assert " 1 runs," in admin("restore", str(file)).stderr
    with opened(f"sqlite:///{home / 'axo.db'}") as first, opened(other) as second:
        assert second.runs() == first.runs()


def test_migrate_says_from_where_to_where(home: Path) -> None:
    assert f"went from nothing to {HEAD}" in admin("migrate").stderr
    assert f"is at {HEAD} already" in admin("migrate").stderr


def test_a_url_that_is_none_is_refused_without_its_password(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AXO_DATABASE", "mysql://me:hunter2@db/axo")
    refused = admin("migrate").exception
    assert isinstance(refused, SettingsError)
    assert "hunter2" not in str(error_data(refused))


def test_a_user_without_a_name_makes_keys_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, whose user is a number."""
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("os.getuid", lambda: 65532)
    assert admin("keys", "create", "ops", "--role", "admin").exit_code == 0
    with opened(f"sqlite:///{home / 'axo.db'}") as database:
        (key,) = database.keys()
    assert key.creator == "operator/65532"
