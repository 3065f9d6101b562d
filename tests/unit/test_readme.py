"""README tells the truth: its spec is one, and its commands, options and variables are there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from docs_pages import ROOT

from orchestrator.cli.frame import SENTENCES, Commands
from orchestrator.spec.load import parse_spec

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def commands() -> Iterator[list[str]]:
    lines = (line for language, block in BLOCKS if language == "sh" for line in block.splitlines())
    calls = [line.split("#")[0] for line in lines] + re.findall(r"`(axo [^`]+)`", README)
    for call in calls:
        if call.startswith("axo "):
            yield shlex.split(call)[1:]


def test_its_spec_is_one() -> None:
    (spec,) = [block for language, block in BLOCKS if language == "yaml" and block.startswith("name:")]
    assert parse_spec(spec.encode(), Path("spec.yaml")).spec.name == "support-triage"


@pytest.mark.parametrize("call", list(commands()), ids=" ".join)
def test_its_commands_are_there_with_their_options(call: list[str]) -> None:
    name, *arguments = call
    assert name in SENTENCES
    command = Commands().get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    known = {option for parameter in command.params for option in parameter.opts}
    assert {argument for argument in arguments if argument.startswith("-")} <= known


def test_its_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_its_variables_are_read() -> None:
    code = "".join(path.read_text() for path in (ROOT / "orchestrator").rglob("*.py"))
    for variable in re.findall(r"`(AXO_[A-Z_]+)`", README):
        assert variable in code, variable
