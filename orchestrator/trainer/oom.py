"""How often the kernel has killed for want of memory: the evidence behind a SIGKILL."""

from __future__ import annotations

import contextlib
from pathlib import Path


def kills(root: Path = Path("/")) -> int:
    """The counter of our own cgroup, else the host's; 0 where neither can be read.

    Source: memory.events of cgroup v2, memory.oom_control of v1, /proc/vmstat.
    """
    for path in (*_cgroup_files(root), root / "proc/vmstat"):
        with contextlib.suppress(OSError):
            for line in path.read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def _cgroup_files(root: Path) -> list[Path]:
    files = []
    with contextlib.suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                files.append(root / "sys/fs/cgroup" / path.lstrip("/") / "memory.events")
            elif "memory" in controllers.split(","):
                files.append(root / "sys/fs/cgroup/memory" / path.lstrip("/") / "memory.oom_control")
    return files
