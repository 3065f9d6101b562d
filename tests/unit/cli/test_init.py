"""`axo init` and `axo schema`: what is written is fit to run as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from toy_models import MODELS

from orchestrator.cli import axo
from orchestrator.errors import DataError
from orchestrator.spec.draft import name_for, sequence_len_for
from orchestrator.spec.load import load_spec

TICKETS = [
    {"id": n, "text": f'ticket {n}: it\'s "late"', "queue": ("billing", "sales")[n % 2]} for n in range(60)
]
CHATS = [
    {"conversations": [{"from": "human", "value": f"hi {n}"}, {"from": "gpt", "value": "hello"}]}
    for n in range(60)
]
ALPACA = [
    {"instruction": f"add {n}", "input": "" if n % 2 else "and one", "output": str(n)} for n in range(60)
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AXO_HOME", str(tmp_path / "home"))
    MODELS["chatml"].write(tmp_path / "base")
    (tmp_path / "base" / "model.safetensors").write_bytes(b"\0" * 64)
    return tmp_path


def lay(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def init(*arguments: str) -> Result:
    return CliRunner().invoke(axo, ["init", *arguments])


BOOK = [{"text": f"Line {n} of a book that goes on and on."} for n in range(60)]


@pytest.mark.parametrize(
    "rows", [TICKETS, CHATS, ALPACA, BOOK], ids=["labels", "sharegpt", "alpaca", "plain text"]
)
def test_what_init_writes_is_fit_to_run_as_it_is(rows: Sequence[Mapping[str, Any]]) -> None:
    done = init(lay("My Data.jsonl", rows), "--base-model", "base")
    assert done.exit_code == 0, done.output
    assert "axo check spec.yaml" in done.stderr
    checked = CliRunner().invoke(axo, ["check", "spec.yaml", "-o", "json"])
    assert checked.exit_code == 0, checked.output
    found = json.loads(checked.stdout)
    assert found["report"]["green"] == 60
    assert found["splits"]["validation"]["rows"] == 6
    assert load_spec(Path("spec.yaml")).spec.name == "my-data"


def test_a_folder_of_data_can_hold_its_own_spec() -> None:
    Path("data").mkdir()
    lay("data/a.jsonl", TICKETS[:30])
    lay("data/b.jsonl", TICKETS[30:])
    done = init("data", "--base-model", "base", "--output", "data/spec.yaml")
    assert done.exit_code == 0, done.output
    checked = json.loads(CliRunner().invoke(axo, ["check", "data/spec.yaml", "-o", "json"]).stdout)
    assert (checked["report"]["rows"], checked["faults"]) == (60, [])


def test_the_spec_names_its_schema_and_tells_what_was_recognised() -> None:
    init(lay("tickets.jsonl", TICKETS))
    lines = Path("spec.yaml").read_text().splitlines()
    assert lines[0] == "# yaml-language-server: $schema=.spec.schema.json"
    assert "Taken for labels" in lines[1]
    assert max(map(len, lines)) <= 100
    schema = json.loads(Path(".spec.schema.json").read_text())
    assert schema["properties"]["base_model"]["description"]
    assert schema == json.loads(CliRunner().invoke(axo, ["schema"]).stdout)


def test_what_is_commented_out_is_true_once_it_is_not() -> None:
    init(lay("tickets.jsonl", TICKETS))
    text = Path("spec.yaml").read_text()
    for line in ("evaluate:", "publish:", "  - mlflow:"):
        assert f"# {line}" in text
        text = text.replace(f"# {line}", line)
    text = text.replace("# where: a_column", "where: queue")
    Path("spec.yaml").write_text(text)
    spec = load_spec(Path("spec.yaml")).spec
    assert (spec.publish[0].mlflow.alias, spec.mapping.where) == ("candidate", "queue is not none")
    assert spec.evaluate is not None


def test_a_spec_that_is_there_is_never_replaced() -> None:
    lay("tickets.jsonl", TICKETS)
    Path("spec.yaml").write_text("mine")
    done = init("tickets.jsonl")
    assert done.exit_code == 2
    assert "spec.yaml is there already" in done.stderr
    assert (Path("spec.yaml").read_text(), Path(".spec.schema.json").exists()) == ("mine", False)


def test_a_spec_elsewhere_names_data_and_model_from_there() -> None:
    lay("tickets.jsonl", TICKETS)
    assert init("tickets.jsonl", "--base-model", "base", "--output", "specs/a/spec.yaml").exit_code == 0
    spec = load_spec(Path("specs/a/spec.yaml")).spec
    assert (spec.dataset.source, spec.base_model) == ("../../tickets.jsonl", "../../base")


def test_stdout_holds_the_spec_and_nothing_is_written() -> None:
    done = init(lay("tickets.jsonl", TICKETS), "--stdout", "--name", "mine")
    assert "name: mine\n" in done.stdout
    assert not Path("spec.yaml").exists()


def test_without_a_terminal_nothing_is_asked() -> None:
    done = init(lay("tickets.jsonl", TICKETS))
    assert (done.exit_code, "base_model is a first choice" in done.stderr) == (0, True)


def test_a_terminal_is_asked_for_the_base_model(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(question: str, default: str, err: bool) -> str:
        asked.append(question)
        return "base"

    monkeypatch.setattr("orchestrator.cli.init.can_ask", lambda: True)
    monkeypatch.setattr(click, "prompt", answer)
    init(lay("tickets.jsonl", TICKETS))
    assert len(asked) == 1
    assert load_spec(Path("spec.yaml")).spec.base_model == "base"


def test_a_source_that_is_not_there_leaves_nothing_behind() -> None:
    done = init("tickts.jsonl")
    assert isinstance(done.exception, DataError)
    assert not Path("spec.yaml").exists()


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("data/Support_Tickets.jsonl.gz", "support-tickets"),
        ("hf://org/My.Data@main/config/train", "my-data"),
        ("hf://org/tickets/config/train", "tickets"),
        ("s3://bucket/rows/*.parquet", "rows"),
        ("日本.csv", "fine-tune"),
        ("folder/", "folder"),
    ],
)
def test_a_run_is_named_after_its_source(source: str, name: str) -> None:
    assert name_for(source) == name


@pytest.mark.parametrize(("characters", "tokens"), [(0, 256), (576, 256), (577, 512), (10**6, 4096)])
def test_the_longest_row_fits_the_sequence(characters: int, tokens: int) -> None:
    assert sequence_len_for(characters) == tokens


def test_the_schema_of_the_settings_knows_machines() -> None:
    schema = json.loads(CliRunner().invoke(axo, ["schema", "settings"]).stdout)
    assert "machines" in schema["properties"]
    done = CliRunner().invoke(axo, ["schema", "--output", "s.json"])
    assert (done.stdout, json.loads(Path("s.json").read_text())["title"]) == ("", "Spec")
