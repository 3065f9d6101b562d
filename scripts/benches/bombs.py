"""What submissions made to cost a service dearly cost a real one, beside one with a single fault."""

from __future__ import annotations

import statistics
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benches._measure import ROOT

sys.path.append(str(ROOT / "tests"))

from hostile import SUBMISSIONS
from serving import Server, serving

GOAL_MS, GOAL_MIB = 50, 32
TIMES = 5


def main(arguments: Sequence[str]) -> None:
    ArgumentParser(prog="scripts/bench bombs", description=__doc__).parse_args(arguments)
    print(f"hostile submissions (goals: {GOAL_MS} ms, {GOAL_MIB} MiB), medians of {TIMES}")
    print(f"  {'':<28} {'sent KiB':>9} {'answer':>7} {'wall ms':>8} {'CPU ms':>7} {'MiB':>6}")
    over = []
    with TemporaryDirectory(prefix="axo-bench-bombs-") as home, serving(Path(home)) as server:
        for name, body in {"one fault": b'{"spec": "name: X"}', **SUBMISSIONS}.items():
            status, wall, processor, grown = _cost(server, body)
            print(
                f"  {name:<28} {len(body) >> 10:>9} {status:>7} {wall:>8.1f} {processor:>7.0f} {grown:>6.1f}"
            )
            if processor > GOAL_MS or grown > GOAL_MIB:
                over.append(name)
    print(f"  beyond a goal by processor time or memory: {', '.join(over) or 'none'}")


def _cost(server: Server, body: bytes) -> tuple[int, float, float, float]:
    """The answer's status, medians of milliseconds of wall and of processor time, and the growth in MiB."""
    memory, times, before = server.peak_mib, [], server.processor_seconds
    for _ in range(TIMES):
        began = time.perf_counter()
        answer = httpx.post(
            f"{server.url}/api/v1/runs",
            content=body,
            headers={"Content-Type": "application/json"},
            timeout=60,
        )
        times.append(1000 * (time.perf_counter() - began))
    processor = 1000 * (server.processor_seconds - before) / TIMES
    return answer.status_code, statistics.median(times), processor, server.peak_mib - memory
