"""The whole chain as a user has it: a folder with spec and data, the `axo` command, a home of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

AXO = Path(sys.executable).parent / "axo"
QUEUES = ("billing", "returns", "shipping")
WORDS = ("invoice", "refund", "parcel", "charge", "broken", "late", "card", "box", "street", "price")


@dataclass(frozen=True)
class Desk:
    """One user's folder: `spec.yaml`, its data, and the environment their commands run in."""

    folder: Path
    environment: dict[str, str]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def write_spec(self, **changes: Any) -> Path:
        spec = yaml.safe_load(SPEC) | changes
        path = self.folder / "spec.yaml"
        path.write_text(yaml.safe_dump(spec, sort_keys=False))
        return path

    def axo(self, *arguments: str, code: int = 0) -> str:
        """Run a command to its end; its stdout, after its exit code was compared."""
        done = subprocess.run(
            [AXO, *arguments], env=self.environment, cwd=self.folder, capture_output=True, text=True
        )
        assert done.returncode == code, f"{done.returncode}: {done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done.stdout

    def refused(self, *arguments: str, code: int) -> str:
        """Run a command that must fail with this exit code; what it says."""
        done = subprocess.run(
            [AXO, *arguments], env=self.environment, cwd=self.folder, capture_output=True, text=True
        )
        assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
        return done.stderr

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / "stderr.txt").open("ab") as errors:
            return subprocess.Popen(
                [AXO, *arguments],
                env=self.environment,
                cwd=self.folder,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )

    def run(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.axo("run", "spec.yaml", "-o", "json", *arguments, code=code))
        return shown


SPEC = """\
name: desk
base_model: base
dataset: {source: tickets.jsonl, validation: 0.2}
mapping:
  messages:
    - {role: user, content: "{{ text }}"}
    - {role: assistant, content: "{{ queue }}"}
adapter: {kind: lora, r: 4, alpha: 8}
training:
  {max_steps: 12, learning_rate: 2e-3, sequence_len: 64, batch_size: 8, checkpoint_steps: 4, eval_steps: 4}
publish:
  - mlflow: {model: desk, alias: candidate}
"""


def tickets(count: int) -> str:
    """JSONL rows, the same each time."""
    rows = (
        {
            "text": f"{WORDS[i % 10]} {WORDS[(i * 7) % 9]} number {i} " + WORDS[i % 7] * (i % 4),
            "queue": QUEUES[i % 3],
        }
        for i in range(count)
    )
    return "".join(json.dumps(row) + "\n" for row in rows)


@pytest.fixture(scope="session")
def make_desk(
    trainer_python: str, tiny_model: Path, mlflow_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Desk]:
    """A fresh folder and home, its MLflow the session's unless another is named."""

    def make(name: str, mlflow: str | None = mlflow_url) -> Desk:
        folder = tmp_path_factory.mktemp(name)
        (folder / "tickets.jsonl").write_text(tickets(120))
        (folder / "base").symlink_to(tiny_model)
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(("AXO_", "MLFLOW_"))},
            "AXO_HOME": str(folder / "home"),
            "AXO_TRAINER_PYTHON": trainer_python,
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
        }
        if mlflow:
            environment["AXO_MLFLOW_URI"] = mlflow
        desk = Desk(folder, environment)
        desk.write_spec(name=name)
        return desk

    return make


@pytest.fixture(scope="session")
def desk(make_desk: Callable[..., Desk]) -> Desk:
    """One whose run nobody disturbs."""
    return make_desk("undisturbed")


@pytest.fixture(scope="session")
def run(desk: Desk) -> dict[str, Any]:
    """That run, once it has ended."""
    return desk.run()
