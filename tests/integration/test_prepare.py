"""The prepare step as its program runs: attempts, logs, outcomes, exit codes; real files, where there."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import toy_models

from orchestrator.contract import (
    Cause,
    ExitCode,
    FileStore,
    LaunchPlan,
    Outcome,
    Result,
    attempts,
    dataset_key,
    model_key,
    read_outcome,
    read_stream,
    verify_folder,
)
from orchestrator.data.content_digest import content_digest
from orchestrator.data.inputs import Inputs
from orchestrator.data.prepare import prepare
from orchestrator.spec.models import Spec
from orchestrator.steps.prepare import inspect

REAL = Path(__file__).parents[3] / "shared" / "data" / "real"
MESSAGES = [{"role": "user", "content": "{{ q }}"}, {"role": "assistant", "content": "{{ a }}"}]


class Bench:
    """A folder with a model and rows, and a store with one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        model = toy_models.MODELS["chatml"].write(folder / "model")
        (model / "model.safetensors").write_bytes(b"weights")
        self.store = FileStore(folder / "storage")
        self.run = self.store.below("runs/r1")

    def spec(self, **more: Any) -> Spec:
        fields = {
            "name": "test",
            "base_model": "model",
            "dataset": {"source": "rows.jsonl", "validation": 0.1},
            "mapping": {"messages": MESSAGES},
        }
        return Spec.model_validate({**fields, **more})

    def write_rows(self, count: int, **more: Any) -> None:
        rows = ({"q": f"question {number}", "a": f"answer {number}", **more} for number in range(count))
        (self.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def plan(self, task: Mapping[str, Any]) -> None:
        self.run.write("launches/1/plan.json", LaunchPlan("r1", 1, "prepare", task=task).to_json())

    def plan_spec(self, spec: Spec, **more: Any) -> None:
        self.plan({"spec": spec.model_dump(mode="json"), "base": str(self.folder), **more})

    def start(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "orchestrator.steps", self.run.url, "1"]
        scratch = {"AXO_SCRATCH": str(self.folder / "scratch"), "HF_HUB_OFFLINE": "1"}
        return subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **scratch},
        )

    def execute(self) -> tuple[int, str]:
        process = self.start()
        output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def outcome(self, attempt: int = 1) -> Outcome:
        outcome = read_outcome(self.run, attempt)
        assert outcome is not None
        return outcome


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_dataset_and_its_model_come_to_lie_in_storage(bench: Bench) -> None:
    bench.write_rows(50)
    bench.plan_spec(bench.spec())
    code, output = bench.execute()
    outcome = bench.outcome()
    assert (code, outcome.result, outcome.exit_code) == (0, Result.SUCCESS, 0), output
    facts = outcome.facts
    assert set(facts["dataset_facts"]) == {
        "rows",
        "validation_rows",
        "tokens",
        "trained_tokens",
        "longest",
        "digest",
    }
    assert (facts["dataset_facts"]["rows"], facts["dataset_facts"]["validation_rows"]) == (45, 5)
    for key in (dataset_key(facts["dataset"]), model_key(facts["model"])):
        assert verify_folder(bench.store, key) == []
    folder = bench.store.local(dataset_key(facts["dataset"]))
    assert folder is not None
    files = {split: folder / f"{split}.parquet" for split in ("train", "validation")}
    assert content_digest(files) == facts["dataset"]
    assert read_stream(bench.run, 1, "log").decode() == output
    assert list((bench.folder / "scratch").iterdir()) == []

    code, output = bench.execute()
    assert code == 0
    assert "prepared before" in output
    assert [claim.attempt for claim in attempts(bench.run)] == [1, 2]
    again = bench.outcome(2).facts
    assert again["prepared_before"]
    assert {name: again[name] for name in ("dataset", "model", "dataset_facts")} == {
        name: facts[name] for name in ("dataset", "model", "dataset_facts")
    }


def test_broken_data_is_told_with_its_line(bench: Bench) -> None:
    bench.write_rows(3)
    with (bench.folder / "rows.jsonl").open("a") as file:
        file.write('{"q": "x", "a": "y", "a": "z"}\n{"q": 5, "a": "z"}\n')
    bench.plan_spec(bench.spec())
    code, output = bench.execute()
    outcome = bench.outcome()
    assert (code, outcome.cause, outcome.result) == (ExitCode.DATA, Cause.DATA, Result.FAILED)
    assert "rows.jsonl:4, row 4, a: the key stands twice" in output
    assert "rows.jsonl:5, row 5, q: this field holds a number here" in output
    assert len(outcome.facts["faults"]) == 2
    assert "Traceback" not in output


def test_a_mapping_that_does_not_fit_is_a_fault_of_the_data(bench: Bench) -> None:
    bench.write_rows(3)
    messages = [MESSAGES[0], {"role": "assistant", "content": "{{ answer }}"}]
    bench.plan_spec(bench.spec(mapping={"messages": messages}))
    code, output = bench.execute()
    assert code == ExitCode.DATA
    assert "mapping.messages[1].content: there is no column" in output


def test_a_model_that_cannot_be_used_is_a_fault_of_the_config(bench: Bench) -> None:
    bench.write_rows(3)
    (bench.folder / "model" / "chat_template.jinja").unlink()
    (bench.folder / "model" / "model.safetensors").unlink()
    bench.plan_spec(bench.spec())
    code, output = bench.execute()
    assert (code, bench.outcome().cause) == (ExitCode.CONFIG, Cause.CONFIG)
    assert "no weights" in output
    assert "no chat template" in output


def test_a_plan_of_another_kind_is_refused(bench: Bench) -> None:
    bench.plan({"spec": {"name": "test"}, "base": "."})
    code, output = bench.execute()
    assert (code, bench.outcome().cause) == (ExitCode.CONFIG, Cause.CONFIG)
    assert "no spec that this version reads" in output


def test_warnings_are_errors_where_the_task_is_strict(bench: Bench) -> None:
    bench.write_rows(3)
    (bench.folder / "rows.jsonl").write_text('{"q":"x","a":"y"}\n' * 4 + '{"q":"z","a":"y"}\n')
    bench.plan_spec(bench.spec(), strict=True)
    code, output = bench.execute()
    assert code == ExitCode.DATA
    assert "repeat an earlier row" in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_as_interrupted_and_a_new_start_does_the_work(
    bench: Bench, number: signal.Signals
) -> None:
    bench.write_rows(20_000, more="word " * 60)
    bench.plan_spec(
        bench.spec(mapping={"messages": [{"role": "user", "content": "{{ more }}"}, *MESSAGES[1:]]})
    )
    process = bench.start()
    assert process.stdout is not None
    lines = ""
    while "reading" not in lines:
        ready, _, _ = select.select([process.stdout], [], [], 60)
        assert ready, lines
        lines += process.stdout.readline()
    process.send_signal(number)
    process.communicate(timeout=60)
    outcome = bench.outcome()
    assert process.returncode == outcome.exit_code == ExitCode.INTERRUPTED
    assert (outcome.result, outcome.cause) == (Result.INTERRUPTED, Cause.STOPPED)
    assert bench.store.keys("datasets") == bench.store.keys("models") == []
    assert list((bench.folder / "scratch").iterdir()) == []
    bench.write_rows(30)
    bench.plan_spec(bench.spec())
    assert bench.execute()[0] == 0
    assert bench.outcome(2).result is Result.SUCCESS


def test_no_plan_no_attempt(bench: Bench) -> None:
    code, output = bench.execute()
    assert code == ExitCode.CONFIG
    assert "cannot be started" in output
    assert attempts(bench.run) == []


def test_inspection_says_what_the_step_will_find_and_writes_nothing(bench: Bench) -> None:
    bench.write_rows(50)
    before = sorted(bench.folder.rglob("*"))
    found = inspect(bench.spec(training={"epochs": 2.0, "batch_size": 8}), bench.folder)
    assert found.faults == ()
    assert sorted(bench.folder.rglob("*")) == before
    bench.plan_spec(bench.spec())
    bench.execute()
    facts = bench.outcome().facts
    assert found.splits == facts["splits"]
    assert found.report is not None
    assert found.report.to_dict() == {**facts["report"], "findings": tuple(facts["report"]["findings"])}
    assert found.forecast is not None
    assert (found.forecast.steps, found.forecast.exact) == (12, True)
    assert found.forecast.tokens == 2 * facts["dataset_facts"]["tokens"]
    assert len(found.samples) == 3


def test_inspection_names_faults_of_model_and_data_together(bench: Bench) -> None:
    bench.write_rows(3)
    (bench.folder / "model" / "config.json").unlink()
    missing = inspect(
        bench.spec(mapping={"messages": [*MESSAGES, {"role": "user", "content": "{{ z }}"}]}), bench.folder
    )
    assert [fault.path for fault in missing.faults] == ["base_model", "mapping.messages[2].content"]
    (bench.folder / "rows.jsonl").write_text('{"q":"x","a":""}\n' * 3)
    unfit = inspect(bench.spec(), bench.folder)
    assert [fault.path for fault in unfit.faults] == ["base_model", None, "mapping.messages[1].content"]
    assert unfit.report is not None
    assert unfit.report.red == 3


INSTRUCTION = "{{ instruction }}{% if input %}\n\n{{ input }}{% endif %}"
ALPACA = {
    "messages": [{"role": "user", "content": INSTRUCTION}, {"role": "assistant", "content": "{{ output }}"}]
}


@pytest.mark.skipif(not REAL.is_dir(), reason="no real datasets lie beside the checkout")
@pytest.mark.parametrize(
    ("name", "mapping"),
    [
        ("alpaca_en_demo.json", ALPACA),
        ("identity.json", ALPACA),
        ("glaive_toolcall_en_demo.json", {"conversation": {"column": "conversations", "system": "tools"}}),
        ("kto_en_demo.json", {"conversation": {"column": "messages"}, "where": "label"}),
    ],
)
def test_real_files_come_out_as_plain_python_has_them(
    tmp_path: Path, name: str, mapping: dict[str, Any]
) -> None:
    spec = Spec.model_validate(
        {"name": "real", "base_model": "m", "dataset": {"source": name}, "mapping": mapping}
    )
    storage = FileStore(tmp_path / "storage")
    dataset = prepare(Inputs.open(spec, REAL, None), storage, tmp_path)
    rows = json.loads((REAL / name).read_text(encoding="utf-8"))
    expected = [_by_hand(row) for row in rows if row.get("label", True)]
    assert dataset.report.red == dataset.report.yellow == 0
    assert dataset.description["splits"]["train"]["rows"] == len(expected)
    folder = storage.local(dataset_key(dataset.digest))
    assert folder is not None
    written = pl.read_parquet(folder / "train.parquet").get_column("messages").to_list()
    assert [[(message["role"], _said(message)) for message in row] for row in written] == expected


def _said(message: dict[str, Any]) -> Any:
    """What a message says: its text, or the function it calls with its arguments."""
    calls = message.get("tool_calls")
    if not calls:
        return message["content"]
    (function,) = (call["function"] for call in calls)
    return {"name": function["name"], "arguments": json.loads(function["arguments"])}


def _by_hand(row: dict[str, Any]) -> list[tuple[str, Any]]:
    if "instruction" in row:
        asked = f"{row['instruction']}\n\n{row['input']}" if row["input"] else row["instruction"]
        return [("user", asked), ("assistant", row["output"])]
    if "messages" in row:
        return [(message["role"], message["content"]) for message in row["messages"]]
    roles = {"human": "user", "gpt": "assistant", "function_call": "assistant", "observation": "tool"}
    system = [("system", row["tools"])] if row["tools"].strip() else []
    said = {"function_call": json.loads}
    turns = ((turn["from"], turn["value"]) for turn in row["conversations"])
    return system + [(roles[who], said.get(who, str)(value)) for who, value in turns]
