"""Data that was prepared or inspected before is not read again; data that changed is."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import toy_models

from orchestrator.contract import FileStore
from orchestrator.data.inputs import Inputs
from orchestrator.data.prepare import prepare
from orchestrator.data.tokens import ChatTokenizer
from orchestrator.spec.models import Spec
from orchestrator.staging import resolve_model
from orchestrator.steps import prepare as step
from orchestrator.steps.prepare import Inspection

MESSAGES = [{"role": "user", "content": "{{ q }}"}, {"role": "assistant", "content": "{{ a }}"}]


class Desk:
    """A folder with a model and twenty rows, a storage and a cache."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.rows = folder, folder / "rows.jsonl"
        model = toy_models.MODELS["chatml"].write(folder / "model")
        (model / "model.safetensors").write_bytes(b"weights")
        self.storage, self.cache = FileStore(folder / "storage"), FileStore(folder / "cache")
        self.write("answer")

    def write(self, word: str) -> None:
        rows = [{"q": f"question {number}", "a": f"{word} {number}"} for number in range(20)]
        self.rows.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def spec(self, **more: Any) -> Spec:
        fields = {"name": "t", "base_model": "model", "dataset": {"source": "rows.jsonl"}}
        return Spec.model_validate({**fields, "mapping": {"messages": MESSAGES}, **more})

    def inspect(self, spec: Spec | None = None, *, strict: bool = False) -> Inspection:
        spec = spec or self.spec()
        return step.inspect(spec, self.folder, strict=strict, storage=self.storage, cache=self.cache)

    def prepare(self) -> None:
        model = resolve_model("model", self.folder)
        tokenizer = ChatTokenizer.load(model.folder)
        inputs = Inputs.open(self.spec(), self.folder, tokenizer, positions=model.positions)
        scratch = self.folder / "scratch"
        scratch.mkdir()
        prepare(inputs, self.storage, scratch)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.fixture
def nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: Any) -> Any:
        raise AssertionError("the rows were read again")

    monkeypatch.setattr(step, "_analysed", read)


def test_what_was_inspected_is_recalled(desk: Desk, request: pytest.FixtureRequest) -> None:
    first = desk.inspect()
    assert first.faults == ()
    assert len(first.samples) == 3
    request.getfixturevalue("nothing_is_read")
    assert desk.inspect() == first
    longer = desk.inspect(desk.spec(training={"epochs": 6.0}))
    assert longer.splits == first.splits
    assert longer.forecast is not None
    assert first.forecast is not None
    assert longer.forecast.tokens == 2 * first.forecast.tokens


def test_unchanged_files_are_not_even_opened(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    first = desk.inspect()
    monkeypatch.setattr(step, "load_tokenizer", None)
    monkeypatch.setattr(step, "Inputs", None)
    assert desk.inspect() == first


def test_what_was_prepared_is_recalled(desk: Desk, request: pytest.FixtureRequest) -> None:
    desk.prepare()
    request.getfixturevalue("nothing_is_read")
    found = desk.inspect()
    assert found.splits is not None
    assert found.splits["train"]["rows"] == 20
    os.utime(desk.rows, ns=(1, 1))
    assert desk.inspect() == found


def test_other_rows_or_rules_are_read(desk: Desk, request: pytest.FixtureRequest) -> None:
    desk.inspect()
    request.getfixturevalue("nothing_is_read")
    for other in (desk.spec(training={"sequence_len": 64}), desk.spec(axolotl={"train_on_inputs": True})):
        with pytest.raises(AssertionError, match="read again"):
            desk.inspect(other)
    before = desk.rows.stat()
    desk.write("ansver")
    assert desk.rows.stat().st_size == before.st_size
    with pytest.raises(AssertionError, match="read again"):
        desk.inspect()


def test_a_recalled_warning_is_a_fault_where_that_is_wanted(desk: Desk) -> None:
    desk.rows.write_text(desk.rows.read_text() + json.dumps({"q": "question 1", "a": "answer 1"}) + "\n")
    assert desk.inspect().faults == ()
    assert any("repeat" in fault.what for fault in desk.inspect(strict=True).faults)
    assert desk.inspect().faults == ()


def test_a_broken_record_is_none(desk: Desk) -> None:
    first = desk.inspect()
    for path in (desk.folder / "cache" / "inputs").rglob("*.json"):
        path.write_text("{")
    assert desk.inspect() == first


@pytest.mark.parametrize("made_for", [{"max_position_embeddings": 20}, {"text_config": {"n_positions": 20}}])
def test_examples_longer_than_the_model_was_made_for_are_told(desk: Desk, made_for: dict[str, Any]) -> None:
    desk.write("answer " * 30)
    assert desk.inspect(strict=True).faults == ()
    (desk.folder / "model" / "config.json").write_text(json.dumps({"model_type": "llama", **made_for}))
    report = desk.inspect().report
    assert report is not None
    (finding,) = [each for each in report.findings if each.code == "beyond_positions"]
    assert (finding.severity, finding.count, "20 tokens" in finding.message) == ("warn", 20, True)


def test_plain_text_needs_no_chat_template(desk: Desk) -> None:
    (desk.folder / "model" / "chat_template.jinja").unlink()
    (fault,) = desk.inspect().faults
    assert (fault.what, "pretrain" in str(fault.fix)) == ("the model has no chat template", True)
    found = desk.inspect(desk.spec(mapping={"text": "{{ q }} {{ a }}"}, method="pretrain"))
    assert (found.faults, found.forecast is not None) == ((), True)
