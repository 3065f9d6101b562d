"""Files that commands leave: whole or not at all, and named where a disk takes no more."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrator.cli.failure import guarded
from orchestrator.cli.files import write_whole
from orchestrator.cli.frame import Frame


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """Files of this process end at so many bytes, as they do on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_cannot_be_written_whole_is_not_left(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    with room_for(10), pytest.raises(OSError, match="too large") as caught:
        write_whole(file, "name: triage\n" * 9, "x")
    assert (caught.value.filename, file.exists()) == (str(file), False)


def test_a_file_that_is_there_already_stays(tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text("mine")
    with pytest.raises(FileExistsError):
        write_whole(file, "another", "x")
    assert file.read_text() == "mine"


def test_a_device_is_named_and_stays() -> None:
    with pytest.raises(OSError, match="/dev/full"):
        write_whole(Path("/dev/full"), "losses")
    assert Path("/dev/full").exists()


def test_output_that_goes_nowhere_blames_no_storage(capsys: pytest.CaptureFixture[str]) -> None:
    def full() -> None:
        with Path("/dev/full").open("w") as out:
            out.write("runs")

    assert guarded(full, Frame(), []) == 4
    said = capsys.readouterr().err
    assert said.startswith("error: No space left on device\nhint:  make room where output goes")
