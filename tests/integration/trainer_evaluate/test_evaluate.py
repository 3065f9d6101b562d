"""Real models of less than a million parameters, evaluated on a CPU in the trainer's environment."""

from __future__ import annotations

import json
import math
import os
import pickle
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars
import pytest
import yaml

from orchestrator.contract import LaunchPlan

ROOT = Path(__file__).parents[3]
SUPPORT = ROOT / "tests" / "integration" / "support"
PYTHON = Path(os.environ.get("AXO_TRAINER_PYTHON", "~/.cache/axo/trainer/bin/python")).expanduser()

TAUGHT = {
    "Where is the kettle?": "kitchen",
    "And the lamp? I have looked for it in every room of this house.": "upstairs, on the table",
    "The car": "garage",
    "Where did we leave the book yesterday?": "It is in the library on Monday",
}
NEVER_TAUGHT = ["tea", "rain", "snow", "dog", "cat"]

# Puts an empty block before the last answer, as Qwen3's template does, which no generation prompt shows.
THINKING_TEMPLATE = """\
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' }}
    {%- if message.role == 'assistant' and loop.last %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
    {{- message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""


def turn(role: str, content: str | None, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, "tool_calls": None, "weight": None, **more}


def taught_rows() -> list[list[dict[str, Any]]]:
    return [[turn("user", asked), turn("assistant", answer)] for asked, answer in TAUGHT.items()]


def mixed_rows() -> list[list[dict[str, Any]]]:
    """Everything that is not one question and one answer; the last two cannot be evaluated."""
    call = {"type": "function", "function": {"name": "look", "arguments": '{"where": "shed"}'}}
    return [
        *([turn("user", f"What of {thing}?"), turn("assistant", f"never {thing}")] for thing in NEVER_TAUGHT),
        [
            turn("system", "You know where things are."),
            turn("user", "Where is the map?"),
            turn("assistant", "Which map?"),
            turn("user", "That of the river."),
            turn("assistant", "In the car."),
        ],
        [
            turn("user", "Where is the drill?"),
            turn("assistant", "", tool_calls=[call]),
            turn("tool", "It is in the shed."),
            turn("assistant", "In the shed."),
        ],
        [
            turn("user", "A."),
            turn("assistant", "not trained", weight=0),
            turn("user", "B."),
            turn("assistant", "b"),
        ],
        [turn("user", "Nobody answers this.")],
        [turn("user", "far too long " * 200), turn("assistant", "too long")],
    ]


def write_rows(work: Path, rows: Sequence[Sequence[dict[str, Any]]]) -> None:
    (work / "dataset").mkdir(parents=True)
    calls = polars.List(
        polars.Struct(
            {
                "type": polars.String,
                "function": polars.Struct({"name": polars.String, "arguments": polars.String}),
            }
        )
    )
    message = polars.Struct(
        {"role": polars.String, "content": polars.String, "tool_calls": calls, "weight": polars.Int64}
    )
    frame = polars.DataFrame({"messages": rows}, schema={"messages": polars.List(message)})
    frame.write_parquet(work / "dataset" / "validation.parquet")


def write_plan(work: Path) -> None:
    task = {
        "metrics": ["exact_match"],
        "rows": 50,
        "max_new_tokens": 24,
        "batch_size": 3,
        "sequence_len": 512,
        "seed": 42,
    }
    (work / "plan.json").write_bytes(LaunchPlan("tickets", 1, "evaluate", task=task).to_json())


class Trainer:
    """Runs programs in the trainer's environment, with nothing of the service's in sight."""

    def __init__(self, packages: Path) -> None:
        packages.mkdir()
        (packages / "orchestrator").symlink_to(ROOT / "orchestrator")
        own = ("HF_HUB_OFFLINE", "AXOLOTL_DO_NOT_TRACK", "DO_NOT_TRACK", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            "PYTHONPATH": str(packages),
            "TOKENIZERS_PARALLELISM": "false",
            **dict.fromkeys(own, "1"),
        }

    def run(self, *arguments: object, folder: Path = ROOT) -> None:
        command = [str(PYTHON), *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    if not PYTHON.exists():
        reason = f"no trainer environment at {PYTHON}; scripts/test makes it, or set AXO_TRAINER_PYTHON"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return Trainer(tmp_path_factory.mktemp("trainer") / "packages")


@pytest.fixture(scope="module")
def evaluated(trainer: Trainer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of evaluated folders: taught, merged, mixed, thinking, trained (by Axolotl itself)."""
    root = tmp_path_factory.mktemp("evaluate")
    taught = root / "taught"
    write_rows(taught, taught_rows())
    trainer.run(ROOT / "scripts" / "tiny_model.py", taught / "model", "--quick")
    trainer.run(SUPPORT / "run_evaluate.py", "teach", taught, len(TAUGHT))
    for name, adapter in (("merged", "full"), ("mixed", "adapter"), ("thinking", "adapter")):
        rows = taught_rows() if name == "merged" else mixed_rows()
        write_rows(root / name, rows if name != "thinking" else rows[:6])
        shutil.copytree(taught / "model", root / name / "model")
        shutil.copytree(taught / adapter, root / name / "adapter")
    (root / "thinking" / "model" / "chat_template.jinja").write_text(THINKING_TEMPLATE)
    train_with_axolotl(trainer, taught / "model", root / "trained")
    folders = [root / name for name in ("taught", "merged", "mixed", "thinking", "trained")]
    for folder in folders:
        write_plan(folder)
    trainer.run(SUPPORT / "run_evaluate.py", "evaluate", *folders)
    return root


def train_with_axolotl(trainer: Trainer, model: Path, work: Path) -> None:
    """Two steps on the mixed rows, then one evaluation of all of them in one batch."""
    write_rows(work, mixed_rows())
    shutil.copytree(model, work / "model")
    rows = {
        "path": "dataset/validation.parquet",
        "ds_type": "parquet",
        "split": "train",
        "type": "chat_template",
        "field_messages": "messages",
        "message_property_mappings": {name: name for name in ("role", "content", "tool_calls")},
        "message_field_training": "weight",
        "roles_to_train": ["assistant"],
        "train_on_eos": "turn",
    }
    config = {
        "base_model": "model",
        "datasets": [rows],
        "test_datasets": [rows],
        "dataset_prepared_path": "prepared",
        "output_dir": "adapter",
        "sequence_len": 512,
        "adapter": "lora",
        "lora_r": 8,
        "lora_alpha": 16,
        "lora_target_linear": True,
        "micro_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "eval_batch_size": 64,
        "max_steps": 2,
        "eval_steps": 2,
        "save_steps": 2,
        "learning_rate": 0.01,
        "optimizer": "adamw_torch",
        "seed": 42,
        "bf16": False,
        "fp16": False,
        "tf32": False,
        "attn_implementation": "sdpa",
        "lora_mlp_kernel": False,
        "lora_qkv_kernel": False,
        "lora_o_kernel": False,
        "dataloader_num_workers": 0,
        "dataloader_pin_memory": False,
        "dataset_num_proc": 1,
    }
    (work / "axolotl.yaml").write_text(yaml.safe_dump(config))
    trainer.run("-m", "axolotl.cli.train", "axolotl.yaml", folder=work)


def facts(work: Path) -> dict[str, Any]:
    return json.loads((work / "evaluated.json").read_text())["facts"]


def test_an_overfitted_adapter_answers_what_it_was_taught(evaluated: Path) -> None:
    found = facts(evaluated / "taught")
    assert (found["rows"], found["skipped"]) == (4, 0)
    assert (found["base"]["exact_match"], found["base"]["exact_match_count"]) == (0.0, 0)
    assert (found["adapter"]["exact_match"], found["adapter"]["exact_match_count"]) == (1.0, 4)
    assert {sample["prompt"]: sample["adapter"] for sample in found["samples"]} == TAUGHT
    assert all(sample["base"] != sample["expected"] for sample in found["samples"])


@pytest.mark.parametrize("which", ["base", "adapter"])
def test_batches_give_what_rows_one_by_one_give(evaluated: Path, which: str) -> None:
    plain = json.loads((evaluated / "taught" / "plain.json").read_text())[which]
    found = facts(evaluated / "taught")
    assert found[which]["tokens"] == plain["tokens"]
    assert found[which]["loss"] == pytest.approx(plain["loss"], rel=1e-4)
    assert sorted(sample[which] for sample in found["samples"]) == sorted(plain["answers"])


def test_full_weights_score_like_the_adapter_they_were_merged_from(evaluated: Path) -> None:
    taught, merged = facts(evaluated / "taught"), facts(evaluated / "merged")
    assert merged["base"] == taught["base"]
    assert merged["adapter"]["exact_match_count"] == 4
    assert merged["adapter"]["loss"] == pytest.approx(taught["adapter"]["loss"], rel=1e-2)


def test_loss_is_axolotls_own_eval_loss(evaluated: Path) -> None:
    work = evaluated / "trained"
    history = json.loads((work / "adapter/checkpoint-2/trainer_state.json").read_text())["log_history"]
    [last] = [entry["eval_loss"] for entry in history if "eval_loss" in entry and entry["step"] == 2]
    found = facts(work)
    assert found["adapter"]["loss"] == pytest.approx(last, rel=1e-5)
    assert not math.isclose(found["base"]["loss"], last, rel_tol=1e-3)


def test_rows_that_cannot_be_evaluated_are_counted(evaluated: Path) -> None:
    found = facts(evaluated / "mixed")
    assert (found["rows"], found["skipped"]) == (8, 2)
    assert found["adapter"]["exact_match_count"] == sum(
        sample["adapter"] == sample["expected"] for sample in found["samples"]
    )
    assert "That of the river." in [sample["prompt"] for sample in found["samples"]]


@pytest.mark.parametrize("name", ["taught", "mixed", "thinking"])
def test_a_prompt_ends_where_the_last_trained_answer_begins(evaluated: Path, name: str) -> None:
    asked = json.loads((evaluated / name / "questions.json").read_text())
    assert asked
    for question in asked:
        length = len(question["prompt"])
        assert question["tokens"][:length] == question["prompt"]
        assert question["labels"][length - 1] == -100
        assert -100 not in question["labels"][length : length + 1]
        assert question["labels"][length:].count(-100) == 1  # the line break after the turn


def test_progress_is_told(evaluated: Path) -> None:
    lines = json.loads((evaluated / "taught" / "evaluated.json").read_text())["lines"]
    assert lines[0] == "evaluate: tokenizing 4 held-out rows"
    assert [line for line in lines if "/" in line] == [
        "evaluate: base 3/4",
        "evaluate: base 4/4",
        "evaluate: adapter 3/4",
        "evaluate: adapter 4/4",
    ]


def ask(trainer: Trainer, work: Path, prompts: Sequence[str], **more: Any) -> dict[str, list[str]]:
    """What `axo try` asks models with; their answers, by model."""
    asked = {
        "model": str(work / "model"),
        "adapter": str(work / "adapter"),
        "base": True,
        "prompts": [{"messages": [{"role": "user", "content": prompt}]} for prompt in prompts],
        "reasoned": False,
        "max_new_tokens": 24,
        "temperature": 0.0,
        "seed": 42,
    }
    done = subprocess.run(
        [str(PYTHON), "-m", "orchestrator.trainer.answer"],
        input=json.dumps({**asked, **more}),
        env=trainer.environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    answers: dict[str, list[str]] = {}
    for line in map(json.loads, done.stdout.splitlines()):
        assert line["prompt"] == len(answers.setdefault(line["model"], []))
        answers[line["model"]].append(line["text"])
    return answers


def test_whoever_tries_an_adapter_gets_the_answers_of_its_evaluation(
    evaluated: Path, trainer: Trainer
) -> None:
    answers = ask(trainer, evaluated / "taught", list(TAUGHT))
    assert answers["adapter"] == list(TAUGHT.values())
    samples = {sample["prompt"]: sample["base"] for sample in facts(evaluated / "taught")["samples"]}
    assert answers["base"] == [samples[prompt] for prompt in TAUGHT]


def test_full_weights_are_tried_alone_and_at_a_temperature(evaluated: Path, trainer: Trainer) -> None:
    answers = ask(trainer, evaluated / "merged", ["The car"] * 4, base=False, temperature=5.0)
    assert list(answers) == ["adapter"]
    assert len(set(answers["adapter"])) > 1


def test_code_and_pickles_of_a_model_are_never_opened(
    evaluated: Path, trainer: Trainer, tmp_path: Path
) -> None:
    marker = tmp_path / "code-has-run"
    with_code, with_tokenizer_code, pickled = (tmp_path / name for name in ("code", "tokenizer", "pickle"))
    for work in (with_code, with_tokenizer_code, pickled):
        shutil.copytree(evaluated / "taught", work)
        (work / "model" / "theirs.py").write_text(f"open({str(marker)!r}, 'w')\n")
    edit_json(
        with_code / "model" / "config.json",
        model_type="theirs",
        auto_map={"AutoConfig": "theirs.Config", "AutoModelForCausalLM": "theirs.Model"},
    )
    edit_json(
        with_tokenizer_code / "model" / "tokenizer_config.json",
        tokenizer_class="Theirs",
        auto_map={"AutoTokenizer": ["theirs.Theirs", "theirs.Theirs"]},
    )
    (pickled / "model" / "model.safetensors").unlink()
    (pickled / "model" / "pytorch_model.bin").write_bytes(pickle.dumps(Opened(marker)))
    trainer.run(SUPPORT / "run_evaluate.py", "refused", with_code, with_tokenizer_code, pickled)
    assert not marker.exists()
    assert "trust_remote_code" in (with_code / "refused.txt").read_text()
    assert "trust_remote_code" in (with_tokenizer_code / "refused.txt").read_text()
    assert "safetensors" in (pickled / "refused.txt").read_text()


class Opened:
    """Unpickling it makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.marker), "w")


def edit_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
