"""How long `axo --help` takes, against starting Python at all."""

from __future__ import annotations

import statistics
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from benches._measure import ROOT, show, timed


def main(arguments: Sequence[str]) -> None:
    ArgumentParser(prog="scripts/bench cli", description=__doc__).parse_args(arguments)
    axo = str(Path(sys.executable).parent / "axo")
    help_times = [timed([axo, "--help"], ROOT, {}) for _ in range(10)]
    bare = [timed([sys.executable, "-c", "pass"], ROOT, {}) for _ in range(10)]
    print("command line, seconds of wall time")
    show("axo --help", help_times)
    show("python -c pass", bare)
    print(f"  axo --help: median {statistics.median(help_times) * 1000:.0f} ms (goal at most 300)")
