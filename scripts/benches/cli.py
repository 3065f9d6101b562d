"""How long `axo --help` takes, and `axo plan` of data seen before, against starting Python at all."""

from __future__ import annotations

import json
import statistics
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory

from benches._measure import ROOT, show, timed

AXO = str(Path(sys.executable).parent / "axo")
TIMES = 10
ROWS = 20_000
SPEC = {
    "name": "bench",
    "base_model": "model",
    "dataset": {"source": "rows.jsonl", "validation": 0.05},
    "mapping": {
        "messages": [{"role": "user", "content": "{{ q }}"}, {"role": "assistant", "content": "{{ a }}"}]
    },
}


def main(arguments: Sequence[str]) -> None:
    ArgumentParser(prog="scripts/bench cli", description=__doc__).parse_args(arguments)
    print("command line, seconds of wall time")
    bare = [timed([sys.executable, "-c", "pass"], ROOT, {}) for _ in range(TIMES)]
    show("python -c pass", bare)
    help_times = [timed([AXO, "--help"], ROOT, {}) for _ in range(TIMES)]
    show("axo --help", help_times)
    print(f"  axo --help: median {statistics.median(help_times) * 1000:.0f} ms (goal at most 300)")
    with TemporaryDirectory(prefix="axo-bench-cli-") as folder:
        _plan(Path(folder))


def _plan(folder: Path) -> None:
    _toy_model(folder / "model")
    rows = ({"q": f"question {number}", "a": f"answer {number}"} for number in range(ROWS))
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "spec.yaml").write_text(json.dumps(SPEC))
    home = {"AXO_HOME": str(folder / "home")}
    show(f"axo plan, first look at {ROWS:,} rows", [timed([AXO, "plan", "spec.yaml"], folder, home)])
    before = _processor_seconds()
    again = [timed([AXO, "plan", "spec.yaml"], folder, home) for _ in range(TIMES)]
    used = (_processor_seconds() - before) / TIMES
    show("axo plan, seen before", again)
    print(
        f"  axo plan, seen before: median {statistics.median(again):.2f} s (goal at most 1); "
        f"{used:.2f} s of processor"
    )


def _processor_seconds() -> float:
    """What all processes started from here have used so far."""
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _toy_model(folder: Path) -> None:
    """A model folder of the tests: a real tokenizer and chat template, and no weights."""
    sys.path.append(str(ROOT / "tests"))
    import toy_models

    toy_models.MODELS["chatml"].write(folder)
    (folder / "model.safetensors").write_bytes(toy_models.NO_WEIGHTS)
