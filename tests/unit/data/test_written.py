"""The examples of a spec as files: those that preparing trains on, in order, the same when read again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import toy_models
import yaml
from click.testing import CliRunner, Result

from orchestrator.cli.check import command
from orchestrator.contract import FileStore
from orchestrator.data.inputs import Inputs
from orchestrator.data.prepare import prepare
from orchestrator.spec.models import Spec
from orchestrator.staging import resolve_model
from orchestrator.steps.prepare import load_tokenizer

READ_AGAIN = {"conversation": {"column": "messages"}, "tools": "tools"}


class Desk:
    """A folder with a model, rows and a spec."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        toy_models.MODELS["tools"].write(folder / "model")
        (folder / "model" / "model.safetensors").write_bytes(toy_models.NO_WEIGHTS)

    def write(self, rows: Sequence[dict[str, Any]], name: str = "rows.jsonl") -> None:
        (self.folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def spec(self, mapping: dict[str, Any], dataset: dict[str, Any], **more: Any) -> dict[str, Any]:
        fields = {"name": "t", "base_model": "model", "dataset": dataset, "mapping": mapping, **more}
        (self.folder / "spec.yaml").write_text(yaml.safe_dump(fields))
        return fields

    def check(self, *options: str) -> Result:
        spec = str(self.folder / "spec.yaml")
        return CliRunner().invoke(command, [spec, "--write", str(self.folder / "made.jsonl"), *options])

    def made(self, what: str = "") -> list[dict[str, Any]]:
        lines = (self.folder / f"made{what}.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def dataset(self, fields: dict[str, Any]) -> tuple[str, Any]:
        """What preparing makes of a spec: the digest of all rows, and what was counted of them."""
        spec = Spec.model_validate(fields)
        tokenizer = load_tokenizer(resolve_model("model", self.folder), spec.mapping)
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        found = prepare(
            Inputs.open(spec, self.folder, tokenizer), FileStore(self.folder / "storage"), scratch
        )
        return found.digest, found.description["splits"]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("AXO_HOME", str(tmp_path / "home"))
    return Desk(tmp_path)


def offered(**fields: Any) -> list[dict[str, Any]]:
    parameters = {"type": "object", "properties": fields}
    return [{"type": "function", "function": {"name": "look", "parameters": parameters}}]


def called(number: int, tools: list[dict[str, Any]]) -> dict[str, Any]:
    call = {"id": f"c{number}", "name": "look", "arguments": {"n": number, "city": "Zürich"}}
    return {
        "m": [
            {"role": "user", "content": f"Weather {number}?"},
            {"role": "assistant", "content": "", "tool_calls": [call], "weight": number % 2},
            {"role": "tool", "content": 'sunny\n"warm"', "tool_call_id": f"c{number}"},
            {"role": "assistant", "content": f"Sunny {number}.", "reasoning_content": "It said so."},
        ],
        "tools": tools,
    }


def test_what_is_written_is_what_preparing_trains_on(desk: Desk) -> None:
    city = {"type": "string"}
    desk.write([called(number, offered(city=city)) for number in range(30)])
    mapping = {"conversation": {"column": "m"}, "tools": "tools"}
    prepared = desk.dataset(desk.spec(mapping, {"source": "rows.jsonl", "validation": 0.2}))
    result = desk.check()
    assert result.exit_code == 0, result.output
    assert len(desk.made("-train")) == 24
    first = desk.made("-train")[0]
    assert first["tools"] == offered(city=city)
    assert first["messages"][1]["tool_calls"][0]["function"]["arguments"].startswith('{"n": ')
    told = yaml.safe_load(result.stderr.partition("reads them with:\n")[2])
    assert told["mapping"] == READ_AGAIN
    again = {"source": "made-train.jsonl", "validation": "made-validation.jsonl"}
    assert desk.dataset(desk.spec(READ_AGAIN, again)) == prepared


@pytest.mark.parametrize(
    "others",
    [offered(b=1, a=1), offered(a=1.5, b=1), offered(a="text", b=1), offered(a=[1, "text"])],
    ids=["order", "decimal", "kind", "mixed-list"],
)
def test_tools_that_a_column_would_change_are_text(desk: Desk, others: list[dict[str, Any]]) -> None:
    rows = [called(0, offered(a=1, b=1)), called(1, others)]
    desk.write([{**row, "tools": json.dumps(row["tools"])} for row in rows])
    prepared = desk.dataset(
        desk.spec({**READ_AGAIN, "conversation": {"column": "m"}}, {"source": "rows.jsonl"})
    )
    assert "tools are JSON text" in desk.check().stderr
    assert json.loads(desk.made()[1]["tools"]) == others
    assert desk.dataset(desk.spec(READ_AGAIN, {"source": "made.jsonl"})) == prepared


def test_sources_are_written_as_often_as_their_weight_says(desk: Desk) -> None:
    desk.write([{"q": f"one {number}", "a": "yes"} for number in range(4)], "one.jsonl")
    desk.write([{"q": f"two {number}", "a": "no"} for number in range(10)], "two.jsonl")
    messages = [{"role": "user", "content": "{{ q }}"}, {"role": "assistant", "content": "{{ a }}"}]
    source = [{"source": "one.jsonl", "weight": 2}, {"source": "two.jsonl", "weight": 0.5}]
    prepared = desk.dataset(desk.spec({"messages": messages}, {"source": source}))
    assert desk.check("--left-out").exit_code == 0
    assert len(desk.made()) == 4 * 2 + 5
    left_out = desk.made("-left-out")
    assert {(row["file"], row["reason"]) for row in left_out} == {("two.jsonl", "not_drawn")}
    assert len(left_out) == 5
    again = desk.dataset(desk.spec({"conversation": READ_AGAIN["conversation"]}, {"source": "made.jsonl"}))
    assert again == prepared


def test_rows_left_out_are_written_with_their_reasons(desk: Desk) -> None:
    rows = [{"q": f"q {number}", "a": "yes"} for number in range(40)]
    rows[7]["a"], rows[20]["a"] = " ", "very " * 400
    desk.write(rows)
    messages = [{"role": "user", "content": "{{ q }}"}, {"role": "assistant", "content": "{{ a }}"}]
    desk.spec({"messages": messages}, {"source": "rows.jsonl"}, training={"sequence_len": 256})
    assert "left out: 2 rows" in desk.check().stderr
    assert len(desk.made()) == 38
    assert desk.check("--left-out", "--force").exit_code == 0
    red, long = desk.made("-left-out")
    assert (red["file"], red["row"], red["reason"], red["fault"]) == (
        "rows.jsonl",
        8,
        "red",
        "missing_content",
    )
    assert (long["line"], long["reason"], long["messages"][0]["content"]) == (21, "too_long", "q 20")


def test_plain_text(desk: Desk) -> None:
    desk.write([{"t": f"line one\nline {number}"} for number in range(5)])
    told = {"method": "pretrain"}
    prepared = desk.dataset(desk.spec({"text": "{{ t }}"}, {"source": "rows.jsonl"}, **told))
    assert desk.check().exit_code == 0
    assert desk.made()[0] == {"text": "line one\nline 0"}
    assert desk.dataset(desk.spec({"text": "{{ text }}"}, {"source": "made.jsonl"}, **told)) == prepared


def test_a_file_that_is_there_is_replaced_only_by_force(desk: Desk) -> None:
    desk.write([called(number, offered(city="x")) for number in range(4)])
    desk.spec({"conversation": {"column": "m"}}, {"source": "rows.jsonl"})
    there = desk.folder / "made.jsonl"
    there.write_text("mine")
    refused = desk.check()
    assert (refused.exit_code, there.read_text()) == (2, "mine")
    assert "made.jsonl" in refused.stderr
    assert desk.check("--force").exit_code == 0
    assert len(desk.made()) == 4


def test_nothing_is_written_of_what_would_not_be_trained_on(desk: Desk) -> None:
    desk.write([{"q": "same", "a": "yes"}] * 3)
    messages = [{"role": "user", "content": "{{ q }}"}, {"role": "assistant", "content": "{{ a }}"}]
    desk.spec({"messages": messages}, {"source": "rows.jsonl"})
    refused = desk.check("--strict")
    assert refused.exit_code == 3
    assert "nothing was written" in refused.stderr
    (desk.folder / "model" / "chat_template.jinja").unlink()
    assert desk.check().exit_code == 3
    assert sorted(path.name for path in desk.folder.iterdir() if path.name.startswith(("made", ".axo"))) == []
