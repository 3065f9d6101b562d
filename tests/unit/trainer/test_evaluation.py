from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.contract import ContractError, LaunchPlan
from orchestrator.trainer.evaluate import Measured, Task, adapter_kind, batches, facts
from orchestrator.trainer.held_out import Question


@given(
    lengths=st.lists(st.integers(1, 600), max_size=60),
    rows=st.integers(1, 40),
    tokens=st.integers(1, 2000),
)
def test_batches_hold_each_row_once_and_keep_their_bounds(lengths: list[int], rows: int, tokens: int) -> None:
    made = batches(lengths, rows, tokens)
    assert sorted(index for batch in made for index in batch) == list(range(len(lengths)))
    for batch in made:
        width = max(lengths[index] for index in batch)
        assert len(batch) == 1 or (len(batch) <= rows and len(batch) * width <= tokens)


def test_batches_start_with_the_longest_rows_and_are_filled() -> None:
    assert batches([5, 50, 7, 50, 6], rows=2, tokens=1000) == [[1, 3], [2, 4], [0]]
    assert batches([10, 10, 10], rows=32, tokens=25) == [[0, 1], [2]]


def question(asked: str, expected: str) -> Question:
    return Question(tokens=[1, 2], labels=[-100, 2], prompt=[1], asked=asked, expected=expected)


def test_facts_score_both_models_and_show_samples() -> None:
    asked = [question(f"question {number}", "yes") for number in range(12)]
    base = Measured(2.5, 24, ["no"] * 9 + ["yes"] * 3)
    adapter = Measured(0.5, 24, [" yes\n"] * 12)
    found = facts(asked, base, adapter)
    assert found["rows"] == 12
    assert found["base"] == {"exact_match": 0.25, "exact_match_count": 3, "loss": 2.5, "tokens": 24}
    assert found["adapter"] == {"exact_match": 1.0, "exact_match_count": 12, "loss": 0.5, "tokens": 24}
    assert len(found["samples"]) == 10
    assert found["samples"][9] == {
        "prompt": "question 9",
        "expected": "yes",
        "base": "yes",
        "adapter": " yes\n",
    }


def test_samples_are_cut_to_300_characters() -> None:
    long = "x" * 1000
    [sample] = facts([question(long, long)], Measured(1, 1, [long]), Measured(1, 1, [long]))["samples"]
    assert {len(text) for text in sample.values()} == {300}


def test_a_task_takes_what_the_plan_says_and_defaults_for_the_rest() -> None:
    plan = LaunchPlan(
        "run", 1, "evaluate", task={"rows": 5, "max_new_tokens": 8, "told_by_a_newer_service": 1}
    )
    assert Task.of(plan) == Task(rows=5, max_new_tokens=8)


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ContractError, match="no metric called rouge"):
        Task.of(LaunchPlan("run", 1, "evaluate", task={"metrics": ["exact_match", "rouge"]}))


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["adapter_config.json", "adapter_model.safetensors"], "peft"),
        (["config.json", "model.safetensors"], "full"),
        (["adapter_config.json", "adapter_model.safetensors", "config.json"], "peft"),
    ],
)
def test_an_adapter_folder_tells_its_kind(tmp_path: Path, files: list[str], kind: str) -> None:
    for name in files:
        (tmp_path / name).touch()
    assert adapter_kind(tmp_path) == kind


@pytest.mark.parametrize("files", [[], ["adapter_config.json", "adapter_model.bin"], ["model.safetensors"]])
def test_a_folder_that_is_no_safe_adapter_is_refused(tmp_path: Path, files: list[str]) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(ContractError):
        adapter_kind(tmp_path)


def test_importing_the_step_imports_nothing_heavy() -> None:
    code = (
        "import sys, orchestrator.trainer.evaluate\n"
        "print(sorted({'torch', 'transformers', 'peft', 'axolotl', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
