"""A small training laboratory: storage with one model and its datasets, runs, and their processes."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars
import yaml

from orchestrator.contract import (
    FileStore,
    LaunchPlan,
    Manifest,
    Outcome,
    Record,
    Store,
    commit_folder,
    launch_key,
    owner,
    parse_records,
    read_outcome,
    read_stream,
    run_key,
)

ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "AXOLOTL_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
SEEDING_PLUGIN = """\
from axolotl.integrations.base import BasePlugin
from transformers import set_seed

class Seeds(BasePlugin):
    def load_datasets(self, cfg, preprocess=False): set_seed(cfg.seed)
    def pre_model_load(self, cfg): set_seed(cfg.seed)
"""
# Sends the attempt SIGTERM once a step has logged its loss. Told from outside, by its output, a short
# training may have ended before the test has read so far.
STOPPING_PLUGIN = """\
import os, signal
from axolotl.integrations.base import BasePlugin
from transformers import TrainerCallback

class Stop(TrainerCallback):
    due = int(os.environ.get("STOP_AFTER_STEP", 0)) if os.environ.get("RANK", "0") == "0" else 0

    def on_log(self, args, state, control, logs=None, **_):
        if self.due and state.global_step >= self.due and "loss" in (logs or {}):
            self.due = 0
            os.kill(os.getppid(), signal.SIGTERM)

class Stops(BasePlugin):
    def add_callbacks_post_trainer(self, cfg, trainer): return [Stop()]
"""
WORDS = ["kettle", "lamp", "chair", "table", "window", "door", "garden", "bicycle", "car", "bus", "train"]
DATASET = {
    "ds_type": "parquet",
    "type": "chat_template",
    "field_messages": "messages",
    "message_property_mappings": {"role": "role", "content": "content"},
    "roles_to_train": ["assistant"],
    "train_on_eos": "turn",
}
CONFIG: dict[str, Any] = {
    "base_model": "model",
    "datasets": [{"path": "dataset/train.parquet", **DATASET}],
    "output_dir": "output",
    "dataset_prepared_path": "prepared",
    "sequence_len": 128,
    "pad_to_sequence_len": False,
    # 42 rows in batches of 8: the last step lies in the middle of the third epoch, as it mostly does.
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 4,
    "num_epochs": 3,
    "optimizer": "adamw_torch",
    "lr_scheduler": "cosine",
    "learning_rate": 0.005,
    "seed": 42,
    "logging_steps": 1,
    "save_steps": 5,
    "save_total_limit": 3,
    "load_best_model_at_end": False,
    "bf16": False,
    "fp16": False,
    "tf32": False,
    "attn_implementation": "sdpa",
    "dataloader_num_workers": 0,
    "dataloader_pin_memory": False,
    "dataset_num_proc": 1,
}
LORA: dict[str, Any] = {
    "adapter": "lora",
    "lora_r": 8,
    "lora_alpha": 16,
    "lora_dropout": 0.1,  # draws from the random state at every step: a wrong one shows
    "lora_target_linear": True,
    "lora_mlp_kernel": False,
    "lora_qkv_kernel": False,
    "lora_o_kernel": False,
}
PACKED: dict[str, Any] = {
    **LORA,
    "sample_packing": True,
    "sequence_len": 64,
    "gradient_accumulation_steps": 1,
}
# The validation loss rises after a few steps: the best checkpoint is not the last.
EARLY: dict[str, Any] = {
    **LORA,
    "test_datasets": [{"path": "dataset/validation.parquet", "split": "train", **DATASET}],
    "eval_batch_size": 1,
    "eval_steps": 3,
    "save_steps": 3,
    "early_stopping_patience": 3,
    "load_best_model_at_end": True,
    "learning_rate": 0.02,
    "num_epochs": 10,
}
# Six buffers of texts a pass, each packed in an order of its own, and almost two passes.
STREAMED: dict[str, Any] = {
    **LORA,
    "datasets": None,  # a setting of None takes the key away
    "streaming": True,
    "pretraining_dataset": [
        {
            "path": "parquet",
            "data_files": "dataset/texts.parquet",
            "split": "train",
            "text_column": "text",
            "type": "pretrain",
        }
    ],
    "pretrain_multipack_attn": True,
    "streaming_multipack_buffer_size": 10,
    "sample_packing": True,
    "pad_to_sequence_len": True,
    "eval_sample_packing": False,
    "remove_unused_columns": False,
    "sequence_len": 32,
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 2,
    "num_epochs": 1,
    "max_steps": 20,
}


@dataclass
class Lab:
    """Storage at `root`, with a model, two datasets and runs; `python` is the trainer's."""

    root: Path
    python: str
    packages: Path
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def store(self) -> FileStore:
        return FileStore(self.root / "storage")

    @property
    def scratch(self) -> Path:
        return self.root / "s"

    def stage_model(self, folder: Path) -> None:
        commit_folder(self.store, folder, "models/tiny", Manifest("model", ()))

    def stage_dataset(self) -> None:
        folder = self.root / "plain"
        folder.mkdir()
        _rows(42, seed=1).write_parquet(folder / "train.parquet")
        _rows(40, seed=2).write_parquet(folder / "validation.parquet")
        _texts(60, seed=3).write_parquet(folder / "texts.parquet")
        commit_folder(self.store, folder, "datasets/plain", Manifest("dataset", ()))

    def run(self, name: str, *settings: Mapping[str, Any], keep: int = 3, **planned: Any) -> Run:
        """A new run with one launch: its plan (`planned`: further fields of it) and its config are in
        storage."""
        run = Run(self, name)
        plan = LaunchPlan(
            run=name, launch=1, step="train", model="models/tiny", dataset="datasets/plain",
            base_model="acme/tiny", keep_checkpoints=keep, **planned,
        )  # fmt: skip
        run.store.write(f"{launch_key(1)}/plan.json", plan.to_json())
        run.store.write(f"{launch_key(1)}/axolotl.yaml", yaml.safe_dump(_merged(settings)).encode())
        return run

    def baseline(self, name: str, *settings: Mapping[str, Any], seeded: bool = True) -> Baseline:
        """Axolotl by itself on the same config, in a folder laid out by hand."""
        folder = self.root / "baseline" / name
        folder.mkdir(parents=True)
        (folder / "seeds.py").write_text(SEEDING_PLUGIN)
        (folder / "model").symlink_to(self.root / "storage/models/tiny")
        (folder / "dataset").symlink_to(self.root / "storage/datasets/plain")
        config = _merged(settings) | ({"plugins": ["seeds.Seeds"]} if seeded else {})
        (folder / "axolotl.yaml").write_text(yaml.safe_dump(config))
        with open(folder / "log.txt", "wb") as log:
            subprocess.run(
                [self.python, "-m", "axolotl.cli.train", "axolotl.yaml"], cwd=folder, env=self.environment(),
                stdout=log, stderr=subprocess.STDOUT, check=True,
            )  # fmt: skip
        return Baseline(folder)

    def environment(self) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key in ("HOME", "PATH", "LANG")}
        ours = {"PYTHONPATH": str(self.packages), "AXO_SCRATCH": str(self.scratch)}
        return kept | ENVIRONMENT | ours


@dataclass(frozen=True)
class Baseline:
    """What bare Axolotl left."""

    folder: Path

    @property
    def points(self) -> dict[tuple[str, int], float]:
        """Every logged value by (key, step), as transformers kept it in its last checkpoint."""
        states = (self.folder / "output").glob("checkpoint-*/trainer_state.json")
        newest = max(states, key=lambda path: int(path.parent.name.split("-")[1]))
        points: dict[tuple[str, int], float] = {}
        for entry in json.loads(newest.read_text())["log_history"]:
            for key, value in entry.items():
                points.setdefault((key, entry["step"]), value)
        return points

    @property
    def tensors(self) -> dict[str, bytes]:
        return tensors(self.folder / "output")


@dataclass(frozen=True)
class Run:
    """One run in the lab's storage."""

    lab: Lab
    name: str

    @property
    def store(self) -> Store:
        return self.lab.store.below(run_key(self.name))

    @property
    def folder(self) -> Path:
        return self.lab.root / "storage" / run_key(self.name)

    @property
    def adapter(self) -> Path:
        return self.folder / "adapter"

    @property
    def tensors(self) -> dict[str, bytes]:
        return tensors(self.adapter)

    @property
    def records(self) -> list[Record]:
        """Every line of every attempt's metric record, oldest first."""
        return [record for attempt in range(1, owner(self.store) + 1) for record in self.records_of(attempt)]

    def records_of(self, attempt: int) -> list[Record]:
        return parse_records(read_stream(self.store, attempt, "metrics"))[0]

    @property
    def points(self) -> dict[tuple[str, int], float]:
        """Every metric by (key, step); the first one wins."""
        points: dict[tuple[str, int], float] = {}
        for record in self.records:
            if record.kind == "metrics":
                for key, value in record.values.items():
                    points.setdefault((key, record.step), value)
        return points

    def log(self, attempt: int = 1) -> str:
        return read_stream(self.store, attempt, "log").decode()

    def outcome(self, attempt: int | None = None) -> Outcome:
        number = attempt or owner(self.store)
        outcome = read_outcome(self.store, number)
        assert outcome is not None, f"attempt {number} said nothing\n{self.log(number)[-3000:]}"
        return outcome

    def start(self, **environment: str) -> Attempt:
        """Start an attempt in a process group of its own."""
        self.lab.scratch.mkdir(exist_ok=True)
        process = subprocess.Popen(
            [self.lab.python, "-m", "orchestrator.trainer", str(self.folder), "1"],
            env=self.lab.environment() | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        attempt = Attempt(process)
        self.lab.attempts.append(attempt)
        return attempt

    def finish(self) -> int:
        """Run an attempt to its end; its exit code."""
        return self.start().wait()

    def interrupt(self, step: int) -> int:
        """Run an attempt that gets SIGTERM once this step, or a later one, has logged its loss; its exit
        code."""
        key = f"{launch_key(1)}/axolotl.yaml"
        config = yaml.safe_load(self.store.read(key))
        plugins = {*config.get("plugins", []), "stops.Stops"}
        self.store.write(key, yaml.safe_dump(config | {"plugins": sorted(plugins)}).encode())
        return self.start(STOP_AFTER_STEP=str(step)).wait()


class Attempt:
    """A running attempt, its output followed as it comes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.output = bytearray()
        self._news = threading.Condition()
        self._open = True
        threading.Thread(target=self._follow, daemon=True).start()

    def until(self, text: str, times: int = 1) -> bool:
        """Wait until the output has `text` so many times; False where it ended before."""
        with self._news:
            self._news.wait_for(lambda: self._said(text, times) or not self._open)
            return self._said(text, times)

    def until_true(self, condition: Callable[[], bool]) -> bool:
        """Look every 5 ms until the condition holds; False where the process ended before."""
        while not condition():
            with self._news:
                self._news.wait(0.005)
            if self.process.poll() is not None:
                return False
        return True

    def wait(self) -> int:
        return self.process.wait()

    def rank(self, number: int) -> int:
        """The process id of a rank."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        mark = f"RANK={number}".encode()
        return next(
            int(child)
            for child in children
            if mark in Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        )

    def kill_group(self) -> None:
        """SIGKILL parent and child at once, as a lost node does."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _said(self, text: str, times: int) -> bool:
        return self.output.count(text.encode()) >= times

    def _follow(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            while data := os.read(self.process.stdout.fileno(), 65536):
                self._hear(data)
        with self._news:
            self._open = False
            self._news.notify_all()

    def _hear(self, data: bytes) -> None:
        with self._news:
            self.output += data
            self._news.notify_all()


def tensors(folder: Path) -> dict[str, bytes]:
    """Every tensor of a folder's weights: name to its type, shape and bytes."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        for name, entry in json.loads(data[8:start]).items():
            if name != "__metadata__":
                begin, end = (start + offset for offset in entry["data_offsets"])
                found[name] = f"{entry['dtype']}{entry['shape']}".encode() + data[begin:end]
    assert found, f"{folder} holds no weights"
    return found


@contextmanager
def opened(root: Path, python: str, package: Path, model: Path) -> Iterator[Lab]:
    packages = root / "packages"
    packages.mkdir()
    (packages / "orchestrator").symlink_to(package)
    (packages / "stops.py").write_text(STOPPING_PLUGIN)
    lab = Lab(root, python, packages)
    lab.stage_model(model)
    lab.stage_dataset()
    try:
        yield lab
    finally:
        for attempt in lab.attempts:
            if attempt.process.poll() is None:
                attempt.kill_group()
        shutil.rmtree(lab.scratch, ignore_errors=True)


def _merged(settings: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    merged = dict(CONFIG)
    for each in settings:
        merged.update(each)
    return {key: value for key, value in merged.items() if value is not None}


def _texts(count: int, *, seed: int) -> polars.DataFrame:
    rng = random.Random(seed)
    texts = [" ".join(rng.choice(WORDS) for _ in range(rng.randint(3, 20))) for _ in range(count)]
    return polars.DataFrame({"text": texts})


def _rows(count: int, *, seed: int) -> polars.DataFrame:
    rng = random.Random(seed)

    def words(least: int, most: int) -> str:
        return " ".join(rng.choice(WORDS) for _ in range(rng.randint(least, most)))

    rows = [
        [{"role": "user", "content": words(3, 12)}, {"role": "assistant", "content": words(1, 6)}]
        for _ in range(count)
    ]
    return polars.DataFrame({"messages": rows})
