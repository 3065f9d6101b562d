"""Helm itself, and the chart of this checkout."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from node import programs
from node.places import ClusterError

ROOT = Path(__file__).parents[1]
CHART = ROOT / "charts/axo"
VALUES = sorted(CHART.glob("ci/*-values.yaml"))

Object = dict[str, Any]


class Helm:
    """The program, and what it makes of the chart as somebody's release `axo` in a namespace `axo`."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def run(self, *arguments: str | Path) -> str:
        """What it prints; it must succeed."""
        done = self._called(arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def objects(self, values: Path, *more: str, release: str = "axo") -> list[Object]:
        return [thing for thing in yaml.safe_load_all(self.template(values, *more, release=release)) if thing]

    def template(self, values: Path, *more: str, release: str = "axo") -> str:
        return self.run(*self._rendering(values, more, release))

    def refused(self, values: Path, *more: str) -> str:
        """What it says against the values."""
        done = self._called(self._rendering(values, more, "axo"))
        assert done.returncode != 0, done.stdout
        return done.stderr

    def _rendering(self, values: Path, more: Sequence[str], release: str) -> list[str | Path]:
        return ["template", release, CHART, "--namespace=axo", f"--values={values}", *more]

    def _called(self, arguments: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self._program, *arguments], capture_output=True, text=True)


def helm_of_this_machine() -> Helm:
    """Built where it is not there; without Go, tests are skipped, and in CI fail."""
    try:
        return Helm(programs.build_helm())
    except ClusterError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(str(error))
        pytest.skip(str(error))
