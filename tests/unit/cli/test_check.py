"""`axo check` shows what is trained, and which mapping fits data whose spec has none."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner
from toy_models import MODELS, NO_WEIGHTS

from orchestrator.cli.check import command
from orchestrator.errors import SpecError
from orchestrator.spec.mapping import Mapping

CALLED = [
    {"role": "user", "content": "Weather?"},
    {"role": "assistant", "content": "", "tool_calls": [{"name": "look", "arguments": {"city": "Bern"}}]},
    {"role": "tool", "content": "sunny\nand warm"},
    {"role": "assistant", "content": "It is sunny."},
]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AXO_HOME", str(tmp_path / "home"))


def spec(folder: Path, **more: object) -> Path:
    MODELS["tools"].write(folder / "model")
    (folder / "model" / "model.safetensors").write_bytes(NO_WEIGHTS)
    path = folder / "spec.yaml"
    wanted = {"name": "test", "base_model": "model", "dataset": {"source": "rows.jsonl"}, **more}
    path.write_text(yaml.safe_dump(wanted))
    return path


def test_an_example_marks_what_is_trained(tmp_path: Path) -> None:
    tools = [{"name": "look", "parameters": {"type": "object"}}]
    (tmp_path / "rows.jsonl").write_text(json.dumps({"m": CALLED, "tools": tools}) + "\n")
    path = spec(tmp_path, mapping={"conversation": {"column": "m"}, "tools": "tools", "train_on": "last"})
    shown = click.unstyle(CliRunner().invoke(command, [str(path)]).stdout)
    assert shown.splitlines()[-6:] == [
        "    tools on offer: look",
        "    user:      Weather?",
        '    assistant: calls look({"city": "Bern"})',
        "    tool:      sunny",
        "               and warm",
        "  > assistant: It is sunny.",
    ]
    plain = json.loads(CliRunner().invoke(command, [str(path), "-o", "json"]).stdout)
    (sample,) = plain["samples"]
    assert sample["trained"] == [False, False, False, True]
    assert 0 < sample["trained_tokens"] < sample["tokens"]


def test_plain_text_is_trained_whole(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"t": "one\\ntwo"}\n')
    path = spec(tmp_path, mapping={"text": "{{ t }}"}, method="pretrain")
    result = CliRunner().invoke(command, [str(path)])
    shown = click.unstyle(result.stdout)
    assert result.exit_code == 0, result.output
    assert shown.splitlines()[-2:] == ["  > one", "  > two"]
    assert "in 1 piece; longest" in shown


def test_a_missing_mapping_is_told_with_one_that_fits(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    with pytest.raises(SpecError) as caught:
        command.callback(
            spec(tmp_path), strict=False, samples=1, file=None, left_out=False, force=False, form="table"
        )  # type: ignore[misc]
    (fault,) = caught.value.faults
    assert "prompt completion" in (fault.why or "")
    told = yaml.safe_load((fault.fix or "").partition("\n")[2])
    assert Mapping.model_validate(told["mapping"]).messages


def test_a_missing_mapping_of_data_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        command.callback(
            spec(tmp_path), strict=False, samples=1, file=None, left_out=False, force=False, form="table"
        )  # type: ignore[misc]
    assert [fault.fix for fault in caught.value.faults] == ["add `mapping:`"]
