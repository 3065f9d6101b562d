"""A bench's own process: what it says, and what it has used. It leaves when its input ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benches._measure import ROOT


@dataclass(frozen=True)
class Program:
    """A process that is spoken to by lines."""

    process: subprocess.Popen[str]

    def said(self) -> str:
        """The next line that it says."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self) -> str:
        """Tell it to say a line; that line."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.said()

    def end(self) -> str:
        """Let it end; what else it says."""
        return self.process.communicate()[0]

    def processor_seconds(self) -> float:
        """What it has had of processors by now."""
        return processor_seconds(self.process.pid)


def processor_seconds(*processes: int) -> float:
    """What these processes, and those that they waited for, have had of processors by now."""
    ticks = (Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[11:15] for each in processes)
    return sum(sum(map(int, each)) for each in ticks) / os.sysconf("SC_CLK_TCK")


def children(process: int) -> list[int]:
    """The processes that this one began and that still run."""
    return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))


@contextmanager
def program(module: str, variables: Mapping[str, str], *arguments: str) -> Iterator[Program]:
    """A module of the benches that runs with these variables besides our own."""
    started = Program(
        subprocess.Popen(
            [sys.executable, "-m", f"benches.{module}", *arguments],
            env={**os.environ, "PYTHONPATH": str(ROOT / "scripts"), **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.end()


def service_variables(home: Path, database: str) -> dict[str, str]:
    """What a service of this home and database is told; its trainer's Python is there, and is never run."""
    (home / "python").touch()
    return {
        "AXO_HOME": str(home),
        "AXO_TRAINER_PYTHON": str(home / "python"),
        "AXO_DATABASE": database,
    }
