"""The file of contexts: kept private, told apart, chosen by name, variable or file."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.client.contexts import LOCAL, Context, checked_url, chosen, read_contexts
from orchestrator.errors import NotFoundError, SettingsError, SettingsFileError

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
