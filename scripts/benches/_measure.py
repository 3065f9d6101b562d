"""Wall times of commands, and how the benches show figures."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "AXOLOTL_DO_NOT_TRACK": "1",
    "DO_NOT_TRACK": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


def timed(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> float:
    """Seconds of wall time of a command that must succeed."""
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


def show(name: str, seconds: Sequence[float]) -> None:
    least, middle, most = min(seconds), statistics.median(seconds), max(seconds)
    print(f"  {name:<32} min {least:.2f}  median {middle:.2f}  max {most:.2f}")
