"""Axolotl itself takes every rendered config, knows each of its keys, and counts the same steps."""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rendered import configs, passed_through

from orchestrator.axolotl.schema import axolotl_schema
from orchestrator.optimizer_steps import unpacked_steps

TRAINER = Path(os.environ.get("AXO_TRAINER_PYTHON", "~/.cache/axo/trainer/bin/python")).expanduser()
REPOSITORY = Path(__file__).parents[2]
CONFIGS = dict(configs())
PASSED = dict(passed_through())
WRONG = {
    "misspelt": CONFIGS["lora-unpacked-cpu"].text.replace(
        "learning_rate:", "learning_rate: 1\nlearning_rte:"
    ),
    "no-cadence": CONFIGS["early-stopping"].text.replace("eval_steps: 5", "eval_steps: 3"),
    "gpu-on-cpu": CONFIGS["lora-unpacked-gpu"].text,
}


def sums() -> list[tuple[int, float, int]]:
    drawn = random.Random(7)
    return [
        (drawn.randint(1, 400), drawn.choice([0.1, 0.7, 1.0, 1.1, 2.5, 3.0, 7.3]), drawn.randint(1, 40))
        for _ in range(60)
    ]


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One process of the trainer environment looks at everything: importing Axolotl takes seconds."""
    if not TRAINER.exists():
        message = f"no trainer environment at {TRAINER}: make it with scripts/test, or set AXO_TRAINER_PYTHON"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    folder = tmp_path_factory.mktemp("accepted")
    job, result = folder / "job.json", folder / "result.json"
    shown = [
        {"name": name, "text": config.text, "gpu": config.keys["bf16"]}
        for name, config in (CONFIGS | PASSED).items()
    ]
    shown += [{"name": name, "text": text, "gpu": name == "no-cadence"} for name, text in WRONG.items()]
    job.write_text(json.dumps({"configs": shown, "sums": sums()}))
    _in_trainer(folder, REPOSITORY / "tests/integration/support/accepted.py", job, result)
    answered: dict[str, Any] = json.loads(result.read_text())
    return answered


def test_axolotl_takes_every_config_and_knows_its_keys(answer: dict[str, Any]) -> None:
    assert {name: answer["configs"][name] for name in CONFIGS} == {
        name: {"error": None, "unknown": []} for name in CONFIGS
    }


def test_axolotl_takes_every_key_that_we_let_through(answer: dict[str, Any]) -> None:
    """At each choice and bound, over several kinds of spec: what we do not refuse, it does not refuse."""
    assert len(PASSED) > 300
    refused = {name: answer["configs"][name]["error"] for name in PASSED if answer["configs"][name]["error"]}
    assert refused == {}


def test_axolotl_refuses_what_is_wrong(answer: dict[str, Any]) -> None:
    """So the test above can fail; and a misspelt key is indeed taken without a word."""
    assert answer["configs"]["misspelt"] == {"error": None, "unknown": ["learning_rte"]}
    assert "evenly divide" in answer["configs"]["no-cadence"]["error"]


def test_the_steps_are_axolotls(answer: dict[str, Any]) -> None:
    ours = [unpacked_steps(rows, epochs, batch, 1) for rows, epochs, batch in sums()]
    assert answer["steps"] == ours


def test_the_vendored_schema_is_that_of_the_installed_axolotl(answer: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "schema.json"
    _in_trainer(tmp_path, REPOSITORY / "scripts/axolotl-schema", out)
    assert json.loads(out.read_text()) == axolotl_schema()


def _in_trainer(folder: Path, script: Path, *arguments: Path) -> None:
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "AXOLOTL_DO_NOT_TRACK": "1",
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    done = subprocess.run(
        [TRAINER, script, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
