"""Its place puts this folder on the import path: tests share the modules that lie beside it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytest.register_assert_rewrite("backend_promises")


@pytest.fixture(scope="session")
def engine() -> Iterator[str]:
    """The address of a Docker engine: the one that DOCKER_HOST names, or one of this machine's own."""
    if named := os.environ.get("DOCKER_HOST"):
        yield named
        return
    script = ROOT / "scripts/engine"
    ran_before = subprocess.run([script, "status"], capture_output=True).returncode == 0
    started = subprocess.run([script, "up"], capture_output=True, text=True)
    if started.returncode:
        reason = f"no Docker engine to test on: {started.stderr.strip()}"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    yield started.stdout.strip()
    if not ran_before:
        subprocess.run([script, "down"], check=True)
