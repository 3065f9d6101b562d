"""The file of contexts: kept private, told apart, chosen by name, variable or file."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from orchestrator.cli.login import command as login
from orchestrator.cli.login import name_of
from orchestrator.client.contexts import LOCAL, Context, checked_url, chosen, read_contexts
from orchestrator.errors import NotFoundError, SettingsError, SettingsFileError, UnreachableError

TEAM = Context("team", "https://axo.example", "axo_secret")


def environment(home: Path, **more: str) -> dict[str, str]:
    return {"AXO_HOME": str(home), **more}


def test_what_is_written_is_read_again_by_its_owner_alone(tmp_path: Path) -> None:
    values = environment(tmp_path / "home")
    read_contexts(values).with_context(TEAM).with_current("team").write()
    contexts = read_contexts(values)
    assert (contexts.current, contexts.known["team"]) == ("team", TEAM)
    assert contexts.file.stat().st_mode & 0o777 == 0o600
    assert "axo_secret" not in repr(contexts)
    contexts.file.chmod(0o644)
    with pytest.raises(SettingsError, match="others than you"):
        read_contexts(values)


def test_the_one_named_wins_then_the_variable_then_the_file(tmp_path: Path) -> None:
    values = environment(tmp_path)
    assert chosen(None, values) == Context(LOCAL)
    read_contexts(values).with_context(TEAM).with_current("team").write()
    assert chosen(None, values) == TEAM
    assert chosen(LOCAL, values).url is None
    there = environment(tmp_path, AXO_URL="http://other:1/", AXO_KEY="k")
    assert (chosen(None, there).url, chosen(None, there).key) == ("http://other:1", "k")
    assert chosen("team", there) == TEAM


def test_a_context_that_is_not_there_is_told_with_the_one_meant(tmp_path: Path) -> None:
    contexts = read_contexts(environment(tmp_path)).with_context(TEAM)
    with pytest.raises(NotFoundError) as caught:
        contexts.with_current("tean")
    assert "did you mean 'team'" in str(caught.value.hint)
    assert contexts.with_current("team").without("team").current == LOCAL


def test_a_file_that_cannot_be_written_is_named_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("in the way")
    with pytest.raises(SettingsError, match=r"home/config\.yaml cannot be written") as caught:
        read_contexts(environment(tmp_path / "home")).with_context(TEAM).write()
    assert "AXO_HOME" in str(caught.value.hint)


def test_the_context_of_this_machine_is_never_forgotten(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="stays"):
        read_contexts(environment(tmp_path)).without(LOCAL)


def test_a_service_that_is_not_there_is_told_without_numbers_of_the_system(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    done = CliRunner(env=environment(tmp_path)).invoke(login, [f"http://127.0.0.1:{port}"])
    assert isinstance(done.exception, UnreachableError)
    assert (
        str(done.exception) == f"the service at http://127.0.0.1:{port} does not answer: Connection refused"
    )


def test_a_broken_file_is_told_by_its_lines_and_never_its_keys(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("current: team\ncontexts:\n  team: {ur: https://x, key: axo_secret}\n")
    file.chmod(0o600)
    with pytest.raises(SettingsFileError) as caught:
        read_contexts(environment(tmp_path))
    assert "axo_secret" not in str(caught.value)
    assert {fault.line for fault in caught.value.faults} == {3}


@pytest.mark.parametrize("url", ["axo.example", "ftp://axo.example", "https://", "https://key@axo.example"])
def test_what_is_no_url_of_a_service_is_refused(url: str) -> None:
    with pytest.raises(SettingsError):
        checked_url(url)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://axo.example", "axo-example"),
        ("https://10.0.0.7:8520", "service-10-0-0-7"),
        ("http://local", "service-local"),
        (f"https://{'fine-tuning.' * 5}example", "fine-tuning-fine-tuning-fine-tuning-fine-tuning"),
    ],
)
def test_the_name_after_a_host_is_one_that_the_file_takes(tmp_path: Path, url: str, name: str) -> None:
    assert name_of(url) == name
    values = environment(tmp_path)
    read_contexts(values).with_context(Context(name_of(url), url)).with_current(name).write()
    assert read_contexts(values).current == name


@pytest.mark.parametrize(
    ("option", "value"), [("--name", "Team A"), ("--name", "local"), ("--project", "Triage")]
)
def test_what_the_file_would_not_take_is_refused_before_anybody_is_asked(option: str, value: str) -> None:
    done = CliRunner().invoke(login, ["http://127.0.0.1:9", option, value])
    assert (done.exit_code, option in done.output) == (2, True), done.output
