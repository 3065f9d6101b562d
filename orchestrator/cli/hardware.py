"""The GPUs of this machine, without importing anything that drives them."""

from __future__ import annotations

import shutil
import subprocess

_SECONDS = 10.0


def gpus() -> list[str]:
    """Names and memory of the NVIDIA GPUs seen here, as nvidia-smi tells them; none where it is missing."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line.strip() for line in done.stdout.splitlines() if line.strip()]
