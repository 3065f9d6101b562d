"""When a launch was first asked to leave stays known, also where a death left the file empty."""

from __future__ import annotations

from pathlib import Path

from orchestrator.backends.asked import first_asked


def test_the_first_time_stays(tmp_path: Path) -> None:
    file = tmp_path / "launch" / "stop"
    assert [first_asked(file, now) for now in (5.0, 6.0, 7.0)] == [5.0, 5.0, 5.0]
    assert list(file.parent.iterdir()) == [file]


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "stop"
    file.touch()
    assert [first_asked(file, now) for now in (5.0, 6.0)] == [5.0, 5.0]
