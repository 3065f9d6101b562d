"""Benchmarks: the train step against Axolotl's own command, the command line's start, the data path."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from orchestrator import contract
from orchestrator.axolotl.render import DatasetFacts, render
from orchestrator.contract import LaunchPlan, Manifest, open_store
from orchestrator.spec.models import Spec

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("AXO_CACHE") or Path.home() / ".cache" / "axo")
TRAINER = Path(os.environ.get("AXO_TRAINER_PYTHON") or CACHE / "trainer" / "bin" / "python")
PAIRS = 3
ROWS = 1_000_000
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "AXOLOTL_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}
SPEC = {
    "name": "bench",
    "base_model": "base",
    "dataset": {"source": "unused.jsonl"},
    "mapping": {
        "messages": [
            {"role": "system", "content": "Answer in {{ lang }}."},
            {"role": "user", "content": "{{ text | trim }}\n\n{{ context }}"},
            {"role": "assistant", "content": "{{ label }}"},
        ]
    },
    "training": {"max_steps": 40, "sequence_len": 128, "batch_size": 8, "checkpoint_steps": 20},
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", choices=["run", "cli", "data", []], default=["run", "cli", "data"]
    )
    for part in parser.parse_args(arguments).parts:
        with tempfile.TemporaryDirectory(prefix=f"axo-bench-{part}-") as scratch:
            {"run": bench_run, "cli": bench_cli, "data": bench_data}[part](Path(scratch))
    return 0


def bench_run(folder: Path) -> None:
    """Wall time of the train step against `axolotl train` on the same YAML, in turn."""
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
        bare.append(_timed(["axolotl", "train", "axolotl.yaml"], work, path))
        ours.append(_timed(_trainer_command(storage, number, config), folder, _import_path(folder)))
    print("train step, seconds of wall time, 40 steps of a 0.6 M model on the CPU")
    _show("axolotl train", bare)
    _show("python -m orchestrator.trainer", ours)
    ratios = [o / b for o, b in zip(ours, bare, strict=True)]
    print(f"  ratio, pair by pair: median {statistics.median(ratios):.2f} (goal at most 1.0)")
    print(f"  time in our callbacks: {_overhead(storage, PAIRS):.3f} ms a step (goal at most 1)")


def bench_cli(_: Path) -> None:
    """How long `axo --help` takes, against starting Python at all."""
    axo = str(Path(sys.executable).parent / "axo")
    help_times = [_timed([axo, "--help"], ROOT, {}) for _ in range(10)]
    bare = [_timed([sys.executable, "-c", "pass"], ROOT, {}) for _ in range(10)]
    print("command line, seconds of wall time")
    _show("axo --help", help_times)
    _show("python -c pass", bare)
    print(f"  axo --help: median {statistics.median(help_times) * 1000:.0f} ms (goal at most 300)")


def bench_data(folder: Path) -> None:
    """A million rows through a three-role template, against a plain Polars scan and sink."""
    from orchestrator.data.mapping import ROW, compile_mapping

    source = folder / "rows.jsonl"
    _write_rows(source)
    rows = pl.scan_ndjson(source, row_index_name=ROW)
    mapping = compile_mapping(Spec.model_validate(SPEC).mapping, rows.collect_schema())
    mapped_rows = mapping.apply(rows).select("messages")
    plain, mapped = [], []
    for _ in range(PAIRS):
        plain.append(_clock(lambda: pl.scan_ndjson(source).sink_ndjson(folder / "plain.jsonl")))
        mapped.append(_clock(lambda: mapped_rows.sink_ndjson(folder / "mapped.jsonl")))
    print(f"mapping, seconds of wall time, {ROWS:,} rows ({source.stat().st_size / 1e6:.0f} MB of JSONL)")
    _show("scan and sink", plain)
    _show("three-role template", mapped)
    print(f"  ratio of medians: {statistics.median(mapped) / statistics.median(plain):.2f}")


def _training(folder: Path) -> str:
    """A storage with a tiny model and a dataset; the config that trains on them."""
    store = open_store(str(folder / "storage"))
    base = folder / "base"
    _timed([str(TRAINER), str(ROOT / "scripts" / "tiny_model.py"), str(base), "--quick"], ROOT, {})
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
    return render(Spec.model_validate(SPEC), "cpu", DatasetFacts(400, 0, 20_000, 2_000, 60, "d")).text


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


def _write_rows(path: Path) -> None:
    text = "The parcel that I ordered has not arrived, and nobody answers my letters. " * 8
    with path.open("w") as out:
        for number in range(ROWS):
            language = ("English", "Deutsch", "日本語")[number % 3]
            row = {
                "id": number,
                "text": f"  {text}{number}",
                "label": f"queue {number % 7}",
                "lang": language,
            }
            out.write(json.dumps(row | {"context": text[: number % 200]}, ensure_ascii=False) + "\n")


def _timed(command: Sequence[str], folder: Path, environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **QUIET, **environment},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


def _clock(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _show(name: str, seconds: Sequence[float]) -> None:
    least, middle, most = min(seconds), statistics.median(seconds), max(seconds)
    print(f"  {name:<32} min {least:.2f}  median {middle:.2f}  max {most:.2f}")


if __name__ == "__main__":
    sys.exit(main())
