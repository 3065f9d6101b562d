"""The test cluster's own parts, as far as they need no cluster."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from node import oci, processes

# The programs are meant to outlive whoever started them; Python would rather see them waited for.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGS", "PIDS", "STATE"):
        monkeypatch.setattr(processes, name, tmp_path)


@pytest.fixture
def started() -> Iterator[int]:
    processes.start("sleeper", ["sleep", "600"])
    pid = int((processes.PIDS / "sleeper").read_text().split()[0])
    yield pid
    os.kill(pid, 9)
    os.waitpid(pid, 0)


def test_a_program_is_started_once_and_stopped(tmp_path: Path) -> None:
    processes.start("sleeper", ["sleep", "600"])
    first = (tmp_path / "sleeper").read_text()
    processes.start("sleeper", ["sleep", "600"])
    assert (tmp_path / "sleeper").read_text() == first
    processes.stop("sleeper")
    assert os.WIFSIGNALED(os.waitpid(int(first.split()[0]), 0)[1])
    processes.stop("sleeper")  # it has gone: fine


def test_another_process_of_the_same_number_is_left_alone(tmp_path: Path, started: int) -> None:
    (tmp_path / "sleeper").write_text(f"{started} 12345")  # as it stands after the number was given away
    assert not processes.runs("sleeper")
    processes.stop("sleeper")
    assert os.waitpid(started, os.WNOHANG) == (0, 0)


def test_an_image_names_its_layers_by_their_digests() -> None:
    layer = oci.layer({"/opt/a/file": b"content", "/opt/link": "a/file"})
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        assert {entry.name: entry.mode for entry in tar if entry.isdir()} == {"opt": 0o755, "opt/a": 0o755}
        assert tar.getmember("opt/link").linkname == "a/file"
    with tarfile.open(fileobj=io.BytesIO(oci.archive("axo.test/x:1", [layer], {"User": "1:1"}))) as tar:
        (entry,) = json.loads(content(tar, "index.json"))["manifests"]
        manifest = json.loads(content(tar, blob(entry)))
        assert content(tar, blob(manifest["layers"][0])) == layer
        config = json.loads(content(tar, blob(manifest["config"])))
        assert config["rootfs"]["diff_ids"] == [oci.digest(layer)]


def blob(named: dict[str, str]) -> str:
    return named["digest"].replace("sha256:", "blobs/sha256/")


def content(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file is not None
    return file.read()
