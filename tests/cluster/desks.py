"""Somebody's folder with a spec, its data and its base model, and the command that is run there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

from waiting import wait

from orchestrator.client import Client
from orchestrator.runs import Status

SECONDS = 900  # many of them on a busy machine
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # sums of floats depend on how many there are
SPEC = """\
name: desk
base_model: base
dataset: {{source: tickets.jsonl, validation: 0.2}}
mapping:
  messages:
    - {{role: user, content: "{{{{ text }}}}"}}
    - {{role: assistant, content: "{{{{ queue }}}}"}}
adapter: {{kind: lora, r: 4, alpha: 8}}
training:
  {{epochs: 40, max_steps: {steps}, checkpoint_steps: 4,
    learning_rate: 2e-3, sequence_len: 64, batch_size: 8}}
publish:
  - mlflow: {{model: desk-of-cluster}}
"""


def make_desk(folder: Path, model: Path, steps: int) -> Path:
    folder.mkdir()
    rows = ({"text": f"ticket {i} " + "word " * (i % 7), "queue": f"queue-{i % 3}"} for i in range(120))
    (folder / "tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "base").symlink_to(model)
    (folder / "spec.yaml").write_text(SPEC.format(steps=steps))
    return folder


def axo(desk: Path, *arguments: str, **environment: str) -> Any:
    """What a command says as JSON."""
    command = [sys.executable, "-m", "orchestrator.cli", *arguments, "-o", "json"]
    words = {**os.environ, **THREADS, **environment}
    done = subprocess.run(command, cwd=desk, env=words, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def run_here(desk: Path, home: Path, mlflow: str, trainer: str) -> Any:
    """What the same spec comes to on this machine: what a run on the cluster is compared with."""
    own = {"AXO_HOME": str(home), "AXO_STORAGE": str(home / "storage")}
    return axo(desk, "run", "spec.yaml", AXO_MLFLOW_URI=mlflow, AXO_TRAINER_PYTHON=trainer, **own)


def ended(desk: Path, run: str, url: str, key: str = "") -> Any:
    """What `axo get` says of a run, once that has ended."""
    with Client(url, key=key or None) as client:
        wait(lambda: Status(client.run(run).status).final, SECONDS)
    return axo(desk, "get", run, AXO_URL=url, AXO_KEY=key)


def weights(storage: Path, run: str) -> str:
    return sha256((storage / f"runs/{run}/adapter/adapter_model.safetensors").read_bytes()).hexdigest()
