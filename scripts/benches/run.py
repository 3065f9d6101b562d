"""Wall time of the train step against `axolotl train` on the same YAML, in turn."""

from __future__ import annotations

import os
import shutil
import statistics
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from benches._measure import ROOT, show, timed
from orchestrator import contract
from orchestrator.axolotl.render import DatasetFacts, render
from orchestrator.contract import LaunchPlan, Manifest, open_store
from orchestrator.machines import MACHINES
from orchestrator.spec.models import Spec

CACHE = Path(os.environ.get("AXO_CACHE") or Path.home() / ".cache" / "axo")
TRAINER = Path(os.environ.get("AXO_TRAINER_PYTHON") or CACHE / "trainer" / "bin" / "python")
PAIRS = 3
SPEC = {
    "name": "bench",
    "base_model": "base",
    "dataset": {"source": "unused.jsonl"},
    "mapping": {
        "messages": [{"role": "user", "content": "{{ q }}"}, {"role": "assistant", "content": "{{ a }}"}]
    },
    "training": {"max_steps": 40, "sequence_len": 128, "batch_size": 8, "checkpoint_steps": 20},
}


def main(arguments: Sequence[str]) -> None:
    ArgumentParser(prog="scripts/bench run", description=__doc__).parse_args(arguments)
    with TemporaryDirectory(prefix="axo-bench-run-") as scratch:
        _bench(Path(scratch))


def _bench(folder: Path) -> None:
    storage, config = folder / "storage", _training(folder)
    work = folder / "bare"
    work.mkdir()
    (work / "axolotl.yaml").write_text(config)
    (work / "model").symlink_to(storage / "models" / "m")
    (work / "dataset").symlink_to(storage / "datasets" / "d")
    bare, ours = [], []
    for number in range(1, PAIRS + 1):
        shutil.rmtree(work / "output", ignore_errors=True)
        shutil.rmtree(work / "prepared", ignore_errors=True)
        # Axolotl's command looks for `accelerate` on the path.
        path = {"PATH": f"{TRAINER.parent}:{os.environ['PATH']}"}
        bare.append(timed(["axolotl", "train", "axolotl.yaml"], work, path))
        ours.append(timed(_trainer_command(storage, number, config), folder, _import_path(folder)))
    print("train step, seconds of wall time, 40 steps of a 0.6 M model on the CPU")
    show("axolotl train", bare)
    show("python -m orchestrator.trainer", ours)
    ratios = [o / b for o, b in zip(ours, bare, strict=True)]
    print(f"  ratio, pair by pair: median {statistics.median(ratios):.2f} (goal at most 1.0)")
    print(f"  time in our callbacks: {_overhead(storage, PAIRS):.3f} ms a step (goal at most 1)")


def _training(folder: Path) -> str:
    """A storage with a tiny model and a dataset; the config that trains on them."""
    store = open_store(str(folder / "storage"))
    base = folder / "base"
    timed([str(TRAINER), str(ROOT / "scripts" / "tiny_model.py"), str(base), "--quick"], ROOT, {})
    contract.commit_folder(store, base, "models/m", Manifest("model", ()))
    data = folder / "data"
    data.mkdir()
    words = ("late", "broken", "refund", "invoice", "charge")
    rows = [
        [
            {"role": "user", "content": f"{words[i % 5]} order {i} " + words[i % 4] * (i % 6)},
            {"role": "assistant", "content": words[i % 3]},
        ]
        for i in range(400)
    ]
    pl.DataFrame({"messages": rows}).write_parquet(data / "train.parquet")
    contract.commit_folder(store, data, "datasets/d", Manifest("dataset", ()))
    return render(
        Spec.model_validate(SPEC), MACHINES["cpu"], DatasetFacts(400, 0, 20_000, 2_000, 60, "d")
    ).text


def _trainer_command(storage: Path, number: int, config: str) -> list[str]:
    run = storage / "runs" / f"bench-{number}"
    launch = run / "launches" / "1"
    launch.mkdir(parents=True)
    (launch / "axolotl.yaml").write_text(config)
    plan = LaunchPlan(run.name, 1, "train", model="models/m", dataset="datasets/d", base_model="base")
    (launch / "plan.json").write_bytes(plan.to_json())
    return [str(TRAINER), "-m", "orchestrator.trainer", str(run), "1"]


def _import_path(folder: Path) -> dict[str, str]:
    link = folder / "import" / "orchestrator"
    link.parent.mkdir(exist_ok=True)
    if not link.exists():
        link.symlink_to(ROOT / "orchestrator")
    return {"PYTHONPATH": str(link.parent), "AXO_SCRATCH": str(folder / "scratch")}


def _overhead(storage: Path, pairs: int) -> float:
    """Milliseconds a step that the trainer says its own callbacks took."""
    stores = [open_store(str(storage / "runs" / f"bench-{n}")) for n in range(1, pairs + 1)]
    outcomes = [contract.read_outcome(store, 1) for store in stores]
    return statistics.median(float(o.facts["callback_ms_per_step"]) for o in outcomes if o)
