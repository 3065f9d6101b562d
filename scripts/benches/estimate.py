"""The memory estimate against the measured peak of ten small models, each trained by a run on the CPU.

What Python, PyTorch and Axolotl take by themselves is the peak of a model of next to nothing, run first;
errors are those of what comes on top of it.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import time
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benches._measure import QUIET, ROOT
from orchestrator import wire
from orchestrator.estimate.memory import OVERHEAD
from orchestrator.host import open_host
from orchestrator.settings import Settings

GOAL_MEDIAN, GOAL_WORST = 0.15, 0.30
WORDS = ("kettle", "lamp", "chair", "table", "window", "door", "garden", "bicycle", "car", "bus", "train")


@dataclass(frozen=True)
class Case:
    """A model, and how it is trained; `config` are fields of its transformers config."""

    kind: str
    width: int
    layers: int
    vocabulary: int
    adapter: Mapping[str, Any]
    training: Mapping[str, Any]
    axolotl: Mapping[str, Any] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model(self) -> dict[str, Any]:
        heads = max(2, self.width // 64)
        sizes = {
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": heads,
            "intermediate_size": self.width * 3,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": 2048,
        }
        few_keys = {} if self.kind == "gpt_neox" else {"num_key_value_heads": max(1, heads // 2)}
        return {"model_type": self.kind, **sizes, **few_keys, **self.config}


# A model of next to nothing: its peak is the framework's own.
NOTHING = "nothing"
LORA, FULL = {"kind": "lora", "r": 16}, {"kind": "full"}
CASES = {
    NOTHING: Case(
        "llama", 64, 1, 2048, {"kind": "lora", "r": 1}, {"sequence_len": 256, "micro_batch_size": 1}
    ),
    "llama": Case("llama", 256, 4, 4096, LORA, {"sequence_len": 512, "micro_batch_size": 8}),
    "qwen2": Case("qwen2", 256, 8, 8192, FULL, {"sequence_len": 512, "micro_batch_size": 4, "packing": True}),
    "qwen3": Case("qwen3", 384, 8, 4096, LORA, {"sequence_len": 512, "micro_batch_size": 4, "packing": True}),
    "gemma": Case(
        "gemma", 256, 6, 32000, FULL, {"sequence_len": 256, "micro_batch_size": 8}, config={"head_dim": 64}
    ),
    "mistral": Case(
        "mistral",
        512,
        8,
        8192,
        FULL,
        {"sequence_len": 512, "micro_batch_size": 4, "gradient_checkpointing": True},
    ),
    "phi": Case("phi", 384, 6, 8192, LORA, {"sequence_len": 512, "micro_batch_size": 4}),
    "gpt_neox": Case(
        "gpt_neox", 512, 6, 8192, FULL, {"sequence_len": 512, "micro_batch_size": 2, "packing": True}
    ),
    "llama 80M": Case(
        "llama",
        768,
        8,
        16384,
        {**LORA, "dropout": 0.05},
        {"sequence_len": 1024, "micro_batch_size": 2, "packing": True, "gradient_checkpointing": True},
    ),
    "qwen2 60M": Case("qwen2", 640, 8, 16384, FULL, {"sequence_len": 512, "micro_batch_size": 1}),
    "qwen3 eager": Case(
        "qwen3",
        512,
        6,
        8192,
        LORA,
        {"sequence_len": 512, "micro_batch_size": 2},
        {"attn_implementation": "eager"},
    ),
}


def main(arguments: Sequence[str]) -> None:
    parser = ArgumentParser(prog="scripts/bench estimate", description=__doc__)
    parser.add_argument("cases", nargs="*", help=f"of {', '.join(CASES)}; all if none is named")
    parser.add_argument("--keep", type=Path, help="also write what was measured into this JSON file")
    options = parser.parse_args(arguments)
    names = [NOTHING, *(name for name in options.cases or CASES if name != NOTHING)]
    with TemporaryDirectory(prefix="axo-bench-estimate-") as scratch:
        measured = measure({name: CASES[name] for name in names}, Path(scratch))
    if options.keep:
        options.keep.write_text(json.dumps(measured))
    _show(measured)


def measure(cases: Mapping[str, Case], folder: Path) -> dict[str, dict[str, Any]]:
    """Run each case to its end; what each run found out, by name."""
    settings = Settings.from_environment({"AXO_HOME": str(folder / "home"), "HOME": str(Path.home())})
    os.environ.update(QUIET)
    models = folder / "models.json"
    models.write_text(json.dumps({name.replace(" ", "-"): case.model for name, case in cases.items()}))
    command = [str(settings.trainer_python), str(ROOT / "scripts/random_models.py"), str(folder), str(models)]
    subprocess.run(command, check=True, capture_output=True)
    _write_rows(folder / "rows.jsonl")
    return {name: _run(name.replace(" ", "-"), case, folder, settings) for name, case in cases.items()}


def _run(name: str, case: Case, folder: Path, settings: Settings) -> dict[str, Any]:
    batch = case.training["micro_batch_size"]
    spec = {
        "name": name.replace("_", "-").lower(),
        "base_model": name,
        "dataset": {"source": "rows.jsonl"},
        "mapping": {
            "messages": [{"role": "user", "content": "{{ q }}"}, {"role": "assistant", "content": "{{ a }}"}]
        },
        "adapter": case.adapter,
        "training": {"max_steps": 3, "batch_size": batch, **case.training},
        "axolotl": case.axolotl,
    }
    file = folder / f"{name}.yaml"
    file.write_text(json.dumps(spec))
    with open_host(settings) as host, host.driving(), host.client() as client:
        run: wire.Run = client.submit(
            wire.Submission(spec=file.read_text(), file=str(file), base=str(folder))
        )
        while not run.status.final:
            time.sleep(0.2)
            run = client.run(run.id)
        if run.status != "succeeded":
            log = "".join(part.text for part in client.logs(run.id))
            raise SystemExit(f"{name}: {run.status}: {run.message}\n{log[-3000:]}")
        return {**client.run(run.id).facts, "config": client.config(run.id)}


def _write_rows(path: Path) -> None:
    """Rows of many lengths, the longest just under the shortest sequence length that a case has."""
    rng = random.Random(0)
    with path.open("w") as out:
        for _ in range(400):
            text = " ".join(rng.choice(WORDS) for _ in range(rng.randint(20, 100)))
            out.write(json.dumps({"q": text[: rng.randint(40, 400)], "a": text}) + "\n")


def _show(measured: Mapping[str, Mapping[str, Any]]) -> None:
    framework = measured[NOTHING]["train"]["peak_memory_bytes"]
    print(f"peak memory of training on the CPU, MiB beyond the framework's own {framework / 2**20:.0f}")
    print(f"  {'model':<12} {'parameters':>10} {'trained':>9} {'estimate':>9} {'measured':>9} {'error':>7}")
    errors = []
    for name, facts in measured.items():
        if name == NOTHING:
            continue
        foreseen, memory = facts["estimate"], facts["estimate"]["memory_bytes"]
        ours, actual = memory["total"] - OVERHEAD["cpu"], facts["train"]["peak_memory_bytes"] - framework
        errors.append(abs(ours / actual - 1))
        millions = foreseen["parameters"] / 1e6, foreseen["trainable_parameters"] / 1e6
        print(
            f"  {name:<12} {millions[0]:>9.1f}M {millions[1]:>8.2f}M"
            f" {ours / 2**20:>9.0f} {actual / 2**20:>9.0f} {ours / actual - 1:>+7.1%}"
        )
    if errors:
        print(
            f"  median error {statistics.median(errors):.1%} (goal at most {GOAL_MEDIAN:.0%}), "
            f"worst {max(errors):.1%} (goal at most {GOAL_WORST:.0%})"
        )
