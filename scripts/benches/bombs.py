"""What requests made to cost a service dearly cost a real one, beside a submission with a single fault."""

from __future__ import annotations

import statistics
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from benches._measure import ROOT

sys.path.append(str(ROOT / "tests"))

from hostile import BOMBS, Bomb
from serving import Server, serving

GOAL_MS, GOAL_MIB = 50, 32
TIMES = 5


def main(arguments: Sequence[str]) -> None:
    ArgumentParser(prog="scripts/bench bombs", description=__doc__).parse_args(arguments)
    print(f"hostile requests (goals: {GOAL_MS} ms, {GOAL_MIB} MiB), medians of {TIMES}")
    print(f"  {'':<32} {'sent KiB':>9} {'answer':>7} {'wall ms':>8} {'CPU ms':>7} {'MiB':>6}")
    over = []
    with TemporaryDirectory(prefix="axo-bench-bombs-") as home, serving(Path(home)) as server:
        for name, bomb in {"one fault": Bomb(b'{"spec": "name: X"}'), **BOMBS}.items():
            status, wall, processor, grown = _cost(server, bomb)
            sent = len(bomb.body) >> 10
            print(f"  {name:<32} {sent:>9} {status:>7} {wall:>8.1f} {processor:>7.0f} {grown:>6.1f}")
            if processor > GOAL_MS or grown > GOAL_MIB:
                over.append(name)
    print(f"  beyond a goal by processor time or memory: {', '.join(over) or 'none'}")


def _cost(server: Server, bomb: Bomb) -> tuple[int, float, float, float]:
    """The answer's status, medians of milliseconds of wall and of processor time, and the growth in MiB."""
    memory, times, before = server.peak_mib, [], server.processor_seconds
    for _ in range(TIMES):
        began = time.perf_counter()
        answer = bomb.send(server.url)
        times.append(1000 * (time.perf_counter() - began))
    processor = 1000 * (server.processor_seconds - before) / TIMES
    return answer.status_code, statistics.median(times), processor, server.peak_mib - memory
