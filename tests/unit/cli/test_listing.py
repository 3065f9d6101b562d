"""Groups that list what they are about, with the word `list` and without it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from stored_run import store_run

from orchestrator.cli import axo
from orchestrator.db import NamedMapping, opened

GROUPS = ("models", "datasets", "mappings")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AXO_HOME", str(tmp_path))
    store_run(tmp_path, "triage-x7k2p")
    with opened(f"sqlite:///{tmp_path / 'axo.db'}") as database:
        database.put_mapping(NamedMapping("default", "tickets", "x", "0" * 64, 1.0))
    return tmp_path


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize(
    "options", [(), ("-o", "json"), ("--limit", "1", "-o", "name"), ("--context", "local")]
)
def test_a_group_alone_lists_as_its_list_does(group: str, options: tuple[str, ...]) -> None:
    alone, named = (CliRunner().invoke(axo, [group, *word, *options]) for word in ((), ("list",)))
    assert alone.exit_code == named.exit_code == 0, alone.output
    assert alone.output == named.output != ""


@pytest.mark.parametrize("group", GROUPS)
def test_the_options_of_a_list_are_told_once_and_completed_in_both_places(group: str) -> None:
    assert "--limit" not in CliRunner().invoke(axo, [group, "--help"]).output
    assert "--limit" in CliRunner().invoke(axo, [group, "list", "--help"]).output
    press = ShellComplete(axo, {}, "axo", "_AXO_COMPLETE").get_completions
    assert [item.value for item in press([group], "--l")] == ["--limit"]
    assert "list" in [item.value for item in press([group], "")]


def test_a_slip_in_a_groups_command_is_no_listing() -> None:
    done = CliRunner().invoke(axo, ["models", "pni", "triage"])
    assert done.exit_code == 2
    assert "pin" in done.output
    assert CliRunner().invoke(axo, ["models", "--context", "local", "pin", "triage"]).exit_code == 0
