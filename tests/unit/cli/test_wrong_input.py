"""What a user sees who gets it wrong: the command as it is run, its words, its exit code."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from stored_run import store_run
from triage import SPEC, axo, axo_here, lay_out


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return lay_out(tmp_path)


def test_a_good_spec_is_fit_to_run(folder: Path) -> None:
    done = axo(folder, "check", "spec.yaml", "-o", "json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["report"]["green"], found["splits"]["train"]["rows"], found["faults"]) == (40, 32, [])


def test_three_faults_are_told_together_each_at_its_line(folder: Path) -> None:
    text = SPEC.replace("name: triage", "name: Triage!").replace("validation: 0.2", "validation: 1.5")
    (folder / "spec.yaml").write_text(text.replace("batch_size: 4", "batchsize: 4"))
    done = axo(folder, "check", "spec.yaml")
    assert done.returncode == 3
    for place in ("spec.yaml:1:7", "spec.yaml:3:46", "spec.yaml:8:31"):
        assert place in done.stderr
    assert "batch_size" in done.stderr


def test_a_wrong_column_names_those_there_are(folder: Path) -> None:
    (folder / "spec.yaml").write_text(SPEC.replace("{{ queue }}", "{{ queu }}"))
    done = axo(folder, "check", "spec.yaml")
    assert done.returncode == 3
    assert "spec.yaml:7" in done.stderr
    assert "did you mean" in done.stderr
    assert "text" in done.stderr
    assert "queue" in done.stderr


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("tickets.jsonl", "tickts.jsonl"), "tickets.jsonl"),
        (("base_model: base", "base_model: bases"), "base"),
        (("queue }}", "queue | shout }}"), "shout"),
        (("queue }}", "queue"), "spec.yaml:7"),
        (("training:", "compute: {machine: gpuu}\ntraining:"), "gpu"),
        (("training:", "axolotl: {plugins: [evil.Plugin]}\ntraining:"), "plugins"),
        (("training:", "axolotl: {learning_rte: 1.0}\ntraining:"), "learning_rate"),
        (("training:", "method: dpo\ntraining:"), "sft"),
        (("training:", "name: again\ntraining:"), "name"),
        (
            ("training:", "description: hf_abcdefghijklmnopqrstuvwxyzABCDEFGH\ntraining:"),
            "Hugging Face token",
        ),
        (("sequence_len: 256", "sequence_len: long"), "sequence_len"),
    ],
    ids=lambda value: value[1][-24:] if isinstance(value, tuple) else "",
)
def test_what_is_wrong_is_told_with_its_fix(folder: Path, change: tuple[str, str], told: str) -> None:
    (folder / "spec.yaml").write_text(SPEC.replace(*change))
    done = axo_here(folder, "plan", "spec.yaml")
    assert done.returncode == 3, done.stderr
    assert told in done.stderr
    assert "fix:" in done.stderr or "must be" in done.stderr
    assert done.stdout == ""


def test_a_key_that_axolotl_does_not_know_is_told_by_check(folder: Path) -> None:
    (folder / "spec.yaml").write_text(f"{SPEC}axolotl: {{learning_rte: 1.0}}\n")
    done = axo(folder, "check", "spec.yaml")
    assert done.returncode == 3
    assert "spec.yaml:9" in done.stderr


def test_rows_that_cannot_be_trained_on_are_named(folder: Path) -> None:
    rows = [{"text": "x", "queue": None if number % 4 == 0 else "billing"} for number in range(40)]
    (folder / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = axo(folder, "check", "spec.yaml")
    assert done.returncode == 3
    assert "10 red" in done.stdout
    assert "tickets.jsonl:1, row 1" in done.stdout


def test_a_broken_line_is_named(folder: Path) -> None:
    with (folder / "tickets.jsonl").open("a") as file:
        file.write('{"text": "no end\n')
    done = axo(folder, "check", "spec.yaml")
    assert done.returncode == 3
    assert "tickets.jsonl:41" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["get", "nobody"], 5),
        (["logs", "nobody"], 5),
        (["cancel", "nobody"], 5),
        (["verify", "nobody"], 5),
        (["check", "no-such-spec.yaml"], 5),
        (["check"], 2),
        (["fly"], 2),
        (["get", "-o", "xml"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_exit_codes(folder: Path, arguments: list[str], code: int) -> None:
    done = axo(folder, *arguments)
    assert done.returncode == code, done.stderr
    assert done.stderr
    assert done.stdout == ""


def test_a_trainer_that_is_not_there_is_told_before_anything_starts(folder: Path) -> None:
    done = axo(folder, "run", "spec.yaml", AXO_TRAINER_PYTHON="/no/such/python")
    assert done.returncode == 3
    assert "/no/such/python" in done.stderr
    assert axo(folder, "get", "-o", "name").stdout == ""


def test_what_could_not_be_published_is_not_started(folder: Path) -> None:
    (folder / "spec.yaml").write_text(f"{SPEC}publish: [{{mlflow: {{model: x}}}}]\n")
    assert axo(folder, "plan", "spec.yaml").returncode == 0
    done = axo(folder, "run", "spec.yaml")
    assert done.returncode == 3
    assert "spec.yaml:9" in done.stderr
    assert "AXO_MLFLOW_URI" in done.stderr


def test_a_server_that_is_away_is_told_once_and_without_the_id_of_a_request(folder: Path) -> None:
    store_run(folder / "home", "triage-1", text=f"{SPEC}publish: [{{mlflow: {{model: triage}}}}]\n")
    done = axo(folder, "verify", "triage-1")
    assert done.returncode == 4
    assert done.stderr.startswith("error: no MLflow server is configured"), done.stderr


def test_a_port_that_is_taken_is_told_with_the_way_out(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = axo(folder, "serve", "--port", str(port))
    assert done.returncode == 3
    assert f"127.0.0.1:{port} cannot be listened on: Address already in use" in done.stderr
    assert "`--port` says another port" in done.stderr


def test_a_plan_is_the_same_bytes_each_time(folder: Path) -> None:
    first, second = (axo(folder, "plan", "spec.yaml", "--config") for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert first.stdout == second.stdout
    assert "sequence_len: 256" in first.stdout


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "from orchestrator.cli import axo; axo(['--help'])"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if "|" in line}
    heavy = {"polars", "sqlalchemy", "mlflow", "pydantic", "yaml", "datasets", "huggingface_hub", "jinja2"}
    assert not loaded & heavy
