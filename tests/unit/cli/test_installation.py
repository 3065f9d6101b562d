"""`axo doctor`, `machines` and `completion`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from handled import Handler, handled
from memory_world import MemoryBackend
from stored_run import store_run

from orchestrator.backends import BackendFull
from orchestrator.cli import axo
from orchestrator.cli.frame import SENTENCES
from orchestrator.cli.names import names
from orchestrator.errors import BackendError

AXO = Path(sys.executable).parent / "axo"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("AXO_STORAGE", "AXO_MLFLOW_URI", "MLFLOW_TRACKING_URI", "AXO_SETTINGS", "AXO_SECRETS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AXO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AXO_TRAINER_PYTHON", str(trainer(tmp_path, "0.19.0")))
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path / "home"


def trainer(folder: Path, axolotl: str) -> Path:
    """A program that answers as the trainer's Python does when it is asked for versions."""
    python = folder / f"python-{axolotl}"
    versions = json.dumps({"axolotl": axolotl, "torch": "2.13.0", "transformers": "5.16.1"})
    python.write_text(f"#!/bin/sh\necho '{versions}'\n")
    python.chmod(0o755)
    return python


def doctor() -> tuple[dict[str, dict[str, Any]], int]:
    done = CliRunner().invoke(axo, ["doctor", "-o", "json"])
    return {finding["about"]: finding for finding in json.loads(done.stdout)}, done.exit_code


def test_a_whole_installation_has_no_failure() -> None:
    found, code = doctor()
    assert code == 0
    assert not [finding for finding in found.values() if finding["state"] == "fail"]
    assert found["mlflow"]["state"] == "warn"
    assert "axolotl 0.19.0" in found["trainer"]["told"]


def test_what_the_doctor_prints_has_a_state_and_a_fix_in_lines_that_fit() -> None:
    lines = CliRunner().invoke(axo, ["doctor"]).stdout.splitlines()
    assert {line.split()[0] for line in lines if not line.startswith(" ")} <= {"ok", "warn", "fail"}
    assert any("fix: set AXO_MLFLOW_URI" in line for line in lines)
    assert all(len(line) < 80 or "/" in line for line in lines)


@pytest.mark.parametrize("axolotl", ["0.18.0", "missing"])
def test_a_trainer_that_cannot_train_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, axolotl: str
) -> None:
    python = trainer(tmp_path, axolotl) if axolotl != "missing" else Path(sys.executable)
    monkeypatch.setenv("AXO_TRAINER_PYTHON", str(python))
    found, code = doctor()
    assert (found["trainer"]["state"], code) == ("fail", 3)
    assert "scripts/setup trainer" in found["trainer"]["fix"]


def test_settings_with_faults_fail_with_their_place(home: Path) -> None:
    home.mkdir()
    (home / "settings.yaml").write_text("machines: {big: {device: tpu}}\n")
    found, code = doctor()
    assert (found["settings"]["state"], code) == ("fail", 3)
    assert "settings.yaml:1" in found["settings"]["told"]


def test_storage_that_cannot_be_written_fails_as_away(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    (home / "file").write_text("")
    monkeypatch.setenv("AXO_STORAGE", str(home / "file"))
    found, code = doctor()
    assert (found["storage"]["state"], code) == ("fail", 4)


def test_a_broken_database_fails(home: Path) -> None:
    home.mkdir()
    (home / "axo.db").write_text("this is no database" * 100)
    found, code = doctor()
    assert (found["database"]["state"], code) == ("fail", 4)


def test_secrets_that_others_may_read_are_warned_of_and_never_shown(home: Path) -> None:
    (home / "secrets" / "hub").mkdir(parents=True)
    (home / "secrets" / "hub" / "token").write_text("hf_very_secret")
    found, _ = doctor()
    assert (found["secrets"]["state"], found["secrets"]["fix"][:5]) == ("warn", "chmod")
    assert "hub" in found["secrets"]["told"]
    assert "very_secret" not in json.dumps(found)
    for path in (home / "secrets", home / "secrets" / "hub", home / "secrets" / "hub" / "token"):
        path.chmod(0o700)
    assert doctor()[0]["secrets"]["state"] == "ok"
    (home / "secrets" / "hub" / "gone").symlink_to(home / "nowhere")
    broken = doctor()[0]
    assert broken["secrets"]["state"] == "fail"
    assert "hub/gone cannot be read" in broken["secrets"]["told"]
    assert "mlflow" in broken


KUBERNETES = """\
backend: kubernetes
kubernetes: {namespace: training, service_image: axo:1, trainer_image: axo-trainer:1, storage_claim: storage}
"""
NOBODY = """\
apiVersion: v1
kind: Config
current-context: gone
contexts: [{name: gone, context: {cluster: gone, user: gone}}]
clusters: [{name: gone, cluster: {server: "http://127.0.0.1:1"}}]
users: [{name: gone, user: {}}]
"""


def test_a_cluster_that_does_not_answer_fails_as_away(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.mkdir()
    (home / "settings.yaml").write_text(KUBERNETES)
    (home / "kubeconfig").write_text(NOBODY)
    monkeypatch.setenv("KUBECONFIG", str(home / "kubeconfig"))
    found, code = doctor()
    assert (found["cluster"]["state"], code) == ("fail", 4)
    assert "does not answer" in found["cluster"]["told"]
    assert "trainer" not in found


def test_every_reason_why_a_backend_would_refuse_launches_is_told_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir()
    (home / "settings.yaml").write_text(KUBERNETES)
    backend = MemoryBackend(fault=BackendError("no such image", hint="build it"))
    monkeypatch.setattr("orchestrator.cli.checkup.open_backend", lambda _: backend)
    found, code = doctor()
    assert (found["cluster"]["told"], found["cluster"]["fix"], code) == ("no such image", "build it", 3)
    backend.fault = BackendFull("exceeded quota: count/jobs.batch=2")
    found, code = doctor()
    assert (found["cluster"]["state"], found["cluster"]["told"]) == ("warn", str(backend.fault))
    assert (code, "raise the quota" in found["cluster"]["fix"]) == (0, True)
    backend.fault = None
    assert doctor()[0]["cluster"]["told"] == "it answers, and would take launches on cpu, gpu"


@pytest.fixture
def healthy_only() -> Iterator[str]:
    """A server whose /health answers and whose API refuses: the trap of MLflow's allowed hosts."""

    class Answer(Handler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 403)
            self.end_headers()
            self.wfile.write(b"OK" if self.path == "/health" else b"Invalid Host header")

        do_POST = do_GET

    with handled(Answer) as address:
        yield address


def test_an_mlflow_that_is_healthy_and_refuses_its_api_fails(
    healthy_only: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AXO_MLFLOW_URI", healthy_only)
    found, code = doctor()
    assert (found["mlflow"]["state"], code) == ("fail", 4)
    assert found["mlflow"]["fix"]


def test_machines_are_those_of_the_catalogue(home: Path) -> None:
    home.mkdir()
    (home / "settings.yaml").write_text(
        "machines: {a100-4: {device: gpu, devices: 4, gpu: A100-80GB, memory_gib: 80, price_per_hour: 12.8,"
        " node_selector: {pool: big}}}\n"
    )
    lines = [line.split() for line in CliRunner().invoke(axo, ["machines"]).stdout.splitlines()]
    assert lines[0] == ["NAME", "DEVICE", "COUNT", "GPU", "GIB", "PRICE/H", "NODES", "ABOUT"]
    assert lines[-1] == ["a100-4", "gpu", "4", "A100-80GB", "80", "12.8", "pool=big", "-"]
    assert CliRunner().invoke(axo, ["machines", "-o", "name"]).stdout.split() == ["cpu", "gpu", "a100-4"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell: str) -> None:
    done = CliRunner().invoke(axo, ["completion", shell])
    assert done.exit_code == 0
    assert f"_AXO_COMPLETE={shell}_complete" in done.stdout


def test_bash_takes_the_script(tmp_path: Path) -> None:
    script = CliRunner().invoke(axo, ["completion", "bash"]).stdout
    done = subprocess.run(["/bin/bash", "-c", f"{script}\ncomplete -p axo"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "axo" in done.stdout


def test_runs_are_completed_from_the_database(home: Path) -> None:
    assert names("runs", "") == []
    home.mkdir()
    store_run(home, "triage-a%c")
    store_run(home, "triage-b2", created=2_000.0)
    assert names("runs", "triage-") == [("triage-b2", "succeeded"), ("triage-a%c", "succeeded")]
    assert names("runs", "triage-a%") == [("triage-a%c", "succeeded")]
    assert names("runs", "%") == []


def test_a_key_press_loads_nothing_heavy_and_completes(home: Path) -> None:
    home.mkdir()
    store_run(home, "triage-x7k2p")
    words, loaded = complete("axo get tri", home)
    assert words == ["plain,triage-x7k2p"]
    commands, all_loaded = complete("axo ", home)
    assert [word.removeprefix("plain,") for word in commands] == list(SENTENCES)
    heavy = {"polars", "sqlalchemy", "mlflow", "pydantic", "yaml", "datasets", "huggingface_hub", "jinja2"}
    assert not (loaded | all_loaded) & heavy


def complete(line: str, home: Path) -> tuple[list[str], set[str]]:
    """What bash would be offered at the end of a line, and the modules loaded for it."""
    asked = {"_AXO_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = subprocess.run(
        [sys.executable, "-X", "importtime", AXO],
        env={**os.environ, "AXO_HOME": str(home), **asked},
        capture_output=True,
        text=True,
    )
    loaded = {part.rsplit("|", 1)[1].strip() for part in done.stderr.splitlines() if "|" in part}
    return done.stdout.split(), loaded
