"""Times and memory of commands, and how the benches show figures."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
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


def machine() -> str:
    """What figures were measured on."""
    return f"{os.cpu_count()} cores, load of others before {os.getloadavg()[0]:.1f}"


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


@dataclass(frozen=True)
class Cost:
    """What a process cost: seconds of wall and of processor time, and peaks of memory in MB.

    `anonymous` is what it holds itself; `resident` counts pages of mapped files too, which the kernel takes
    back when it needs them.
    """

    seconds: float
    processor: float
    resident: float
    anonymous: float


def cost(command: Sequence[str]) -> Cost:
    """The cost of a command that prints its own times as JSON; memory is sampled from outside."""
    process = subprocess.Popen(command, env={**os.environ, **QUIET}, stdout=subprocess.PIPE, text=True)
    resident = anonymous = 0.0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        resident = max(resident, _megabytes(status, "VmHWM"))
        anonymous = max(anonymous, _megabytes(status, "RssAnon"))
        time.sleep(0.02)
    output = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
    took = json.loads(output.splitlines()[-1])
    return Cost(took["seconds"], took["processor"], resident, anonymous)


def middle(costs: Sequence[Cost]) -> Cost:
    """The median of each figure."""
    return Cost(*(statistics.median(figures) for figures in zip(*map(astuple, costs), strict=True)))


def most(costs: Sequence[Cost]) -> Cost:
    """The highest of each figure."""
    return Cost(*map(max, zip(*map(astuple, costs), strict=True)))


def memory() -> int:
    """Bytes that this process holds now."""
    return int(_megabytes(Path("/proc/self/status").read_text(), "VmRSS") * 2**20)


def _megabytes(status: str, name: str) -> float:
    """A figure of `/proc/<pid>/status`; 0 once the process is gone."""
    found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0
