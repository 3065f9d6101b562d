"""The kernel's own counters of kills for want of memory."""

from __future__ import annotations

from pathlib import Path

from orchestrator.trainer.oom import kills


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_our_own_cgroup_goes_before_the_host(tmp_path: Path) -> None:
    write(tmp_path, "proc/vmstat", "pgfault 1\noom_kill 7\n")
    assert kills(tmp_path) == 7
    write(tmp_path, "proc/self/cgroup", "0::/pods/train\n")
    write(tmp_path, "sys/fs/cgroup/pods/train/memory.events", "oom 3\noom_kill 2\noom_group_kill 0\n")
    assert kills(tmp_path) == 2


def test_the_first_version_of_cgroups(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "4:cpu,memory:/pod\n")
    write(tmp_path, "sys/fs/cgroup/memory/pod/memory.oom_control", "under_oom 0\noom_kill 1\n")
    assert kills(tmp_path) == 1


def test_nothing_readable_is_no_evidence(tmp_path: Path) -> None:
    assert kills(tmp_path) == 0
