"""Tokens that a command prints: one for many requests, another once it has expired, faults in words."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from orchestrator.client import Client
from orchestrator.client.contexts import Context, chosen, read_contexts
from orchestrator.client.credential import TokenCommand
from orchestrator.errors import AuthError

REFUSED = {"error": {"code": "auth", "message": "this credential has expired", "request_id": "r"}}


@pytest.fixture
def command(tmp_path: Path) -> str:
    """Prints `token-1`, `token-2` and so on."""
    script = tmp_path / "token.py"
    script.write_text(
        "import pathlib\n"
        f"asked = pathlib.Path({str(tmp_path / 'asked')!r})\n"
        "asked.open('a').write('x')\n"
        "print(f'token-{len(asked.read_text())}')\n"
    )
    return f"{sys.executable} '{script}'"


def service(taken: Callable[[str], bool], seen: list[str]) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["authorization"].removeprefix("Bearer "))
        return httpx.Response(200, json=[]) if taken(seen[-1]) else httpx.Response(401, json=REFUSED)

    return httpx.MockTransport(answer)


def test_one_token_serves_until_it_is_not_taken_any_more(command: str) -> None:
    seen: list[str] = []
    transport = service(lambda token: token != "token-1" or len(seen) < 3, seen)
    with Client("http://axo", TokenCommand(command), transport=transport) as client:
        for _ in range(4):
            client.machines()
    assert seen == ["token-1", "token-1", "token-1", "token-2", "token-2"]


def test_a_token_that_was_just_printed_and_is_refused_is_not_asked_for_again(command: str) -> None:
    seen: list[str] = []
    with (
        Client("http://axo", TokenCommand(command), transport=service(lambda _: False, seen)) as client,
        pytest.raises(AuthError, match="has expired"),
    ):
        client.machines()
    assert seen == ["token-1"]


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ("no-such-command --now", "there is no command no-such-command"),
        (f"{sys.executable} -c 'raise SystemExit(3)'", "failed with exit code 3"),
        (f"{sys.executable} -c 'print(1, 2)'", "printed something else"),
        (f"{sys.executable} -c ''", "printed something else"),
        ("'unfinished", "cannot be run: No closing quotation"),
    ],
)
def test_a_command_that_prints_no_token_is_told_with_what_to_do(broken: str, told: str) -> None:
    transport = service(lambda _: True, [])
    with (
        Client("http://axo", TokenCommand(broken), transport=transport) as client,
        pytest.raises(AuthError, match=told) as caught,
    ):
        client.machines()
    assert f"run it yourself: `{broken}`" in str(caught.value.hint)


def test_a_context_keeps_the_command_and_no_token(tmp_path: Path) -> None:
    values = {"AXO_HOME": str(tmp_path)}
    work = Context("work", "https://axo.example", project="triage", token_command="print-token work")
    read_contexts(values).with_context(work).with_current("work").write()
    assert chosen(None, values) == work
    assert isinstance(work.credential, TokenCommand)
    there = {**values, "AXO_URL": "http://other:1", "AXO_TOKEN_COMMAND": "print-token"}
    assert chosen(None, there).token_command == "print-token"
