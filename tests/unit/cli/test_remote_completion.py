"""A key press against a service elsewhere: it waits for nobody, says nothing, and remembers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import serving
from stored_run import DATASET, store_run

from orchestrator.cli import names
from orchestrator.client import Client
from orchestrator.client.contexts import Context, read_contexts
from orchestrator.db import File, NamedMapping, opened

AXO = Path(sys.executable).parent / "axo"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "laptop").mkdir()
    return tmp_path / "laptop"


def speaking_to(home: Path, url: str) -> None:
    contexts = read_contexts({"AXO_HOME": str(home)})
    contexts.with_context(Context("team", url)).with_current("team").write()


def press(home: Path, line: str) -> list[str]:
    """What bash is offered at the end of a line; nothing else is printed."""
    asked = {"_AXO_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("AXO_")}
    done = subprocess.run(
        [AXO], env={**environment, "AXO_HOME": str(home), **asked}, capture_output=True, text=True, timeout=30
    )
    assert done.stderr == ""
    return [word.removeprefix("plain,") for word in done.stdout.split()]


def soon(found: Callable[[], object]) -> None:
    until = time.monotonic() + 30
    while not found():
        assert time.monotonic() < until
        time.sleep(0.05)


def forget(home: Path) -> None:
    """Let what was asked be long ago."""
    for file in (home / "cache" / "names").glob("*.asked"):
        os.utime(file, (0, 0))


def test_names_are_those_of_the_service_and_stay_when_it_is_away(home: Path, tmp_path: Path) -> None:
    service = tmp_path / "service"
    service.mkdir()
    store_run(service, "triage-x7k2p")
    (service / "settings.yaml").write_text("machines: {a100-4: {device: gpu, devices: 4}}\n")
    with serving(service) as server:
        with Client(server.url) as client:
            client.put_mapping("tickets", "conversation: {column: messages}\n")
            client.begin_file("a" * 64, 5)
        speaking_to(home, server.url)
        press(home, "axo get tri")
        soon(lambda: list((home / "cache/names").glob("*.json")))
        assert press(home, "axo get tri") == ["triage-x7k2p"]
        assert press(home, "axo get other") == []
        assert press(home, "axo pull mod") == ["models:/triage/1"]
        named(home)
        assert press(home, "axo --context local get tri") == []
    forget(home)
    assert press(home, "axo get tri") == ["triage-x7k2p"]
    (file,) = (home / "cache/names").glob("*.json")
    assert file.stat().st_mode & 0o077 == 0


def named(home: Path) -> None:
    """What else there is in the home of `test_names_are_those_of_the_service`."""
    assert press(home, "axo datasets show d") == [DATASET]
    assert press(home, f"axo datasets delete {DATASET} a") == ["a" * 64]
    assert press(home, "axo mappings show ti") == ["tickets"]
    assert press(home, "axo clone triage --set compute.machine=a") == ["compute.machine=a100-4"]
    assert press(home, "axo clone triage --set mapping=") == ["mapping=tickets"]
    assert press(home, "axo clone triage --set name=") == []


def test_names_are_those_of_this_home_without_a_service(home: Path) -> None:
    store_run(home, "triage-x7k2p")
    with opened(f"sqlite:///{home / 'axo.db'}") as database:
        database.put_mapping(NamedMapping("default", "tickets", "x", "0" * 64, 1.0))
        database.put_mapping(NamedMapping("theirs", "titles", "x", "0" * 64, 1.0))
        database.begin_file(File("default", "a" * 64, 5, "me", 1.0, 1.0), 100)
    (home / "settings.yaml").write_text("machines: {a100-4: {device: gpu, devices: 4}}\n")
    named(home)
    (home / "settings.yaml").write_text("machines: [1]\n")
    assert press(home, "axo clone triage --set compute.machine=") == [
        "compute.machine=cpu",
        "compute.machine=gpu",
    ]


def test_a_service_that_never_answers_holds_up_no_key_press(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        speaking_to(home, f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert press(home, "axo get tri") == []
        assert press(home, "axo get tri") == []
        silent.settimeout(20)
        silent.accept()[0].close()
        silent.settimeout(0.5)
        with pytest.raises(TimeoutError):  # the second press asked nobody
            silent.accept()


@pytest.mark.parametrize("text", ["", "nonsense", "- 1", "contexts: 3", "{", "contexts: {team: {}}"])
def test_what_is_no_file_of_contexts_completes_nothing(home: Path, text: str) -> None:
    (home / "config.yaml").write_text(text)
    assert press(home, "axo get tri") == []


def test_contexts_are_completed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXO_HOME", str(home))
    assert names.context_names("") == [("local", "the service of this machine")]
    speaking_to(home, "https://axo.example")
    assert names.context_names("te") == [("team", "https://axo.example")]
    assert press(home, "axo context use te") == ["team"]
    assert press(home, "axo --context te") == ["team"]
    assert press(home, "axo get --context te") == ["team"]
