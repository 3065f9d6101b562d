"""A small, good spec with its data and base model, and the command as a user calls it beside them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy_models import MODELS, NO_WEIGHTS

from orchestrator.cli import main

AXO = Path(sys.executable).parent / "axo"
SPEC = """\
name: triage
base_model: base
dataset: {source: tickets.jsonl, validation: 0.2}
mapping:
  messages:
    - {role: user, content: "{{ text }}"}
    - {role: assistant, content: "{{ queue }}"}
training: {sequence_len: 256, batch_size: 4}
"""
ROWS: list[dict[str, object]] = [{"text": f"ticket {number}", "queue": "billing"} for number in range(40)]


def lines(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def lay_out(folder: Path) -> Path:
    """Put spec, data and base model into a folder; the folder."""
    MODELS["chatml"].write(folder / "base")
    (folder / "base" / "model.safetensors").write_bytes(NO_WEIGHTS)
    (folder / "tickets.jsonl").write_text(lines(ROWS))
    (folder / "spec.yaml").write_text(SPEC)
    return folder


def axo(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Call the command in a folder, with a home of its own there; it must never show a traceback."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AXO_", "MLFLOW_"))}
    done = subprocess.run(
        [AXO, *arguments],
        cwd=folder,
        env={**kept, "AXO_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
    return done


def axo_here(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The same in this very process, which has imported already what each new one must first."""
    out, errors = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(folder),
        open(os.devnull) as nobody,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
    ):
        for key in [key for key in os.environ if key.startswith(("AXO_", "MLFLOW_"))]:
            patch.delenv(key)
        for key, value in {"AXO_HOME": str(folder / "home"), **environment}.items():
            patch.setenv(key, value)
        patch.setattr(sys, "argv", ["axo", *arguments])
        patch.setattr(sys, "stdin", nobody)
        with pytest.raises(SystemExit) as left:
            main()
    assert isinstance(left.value.code, int)
    assert "Traceback" not in errors.getvalue()
    return subprocess.CompletedProcess(arguments, left.value.code, out.getvalue(), errors.getvalue())
