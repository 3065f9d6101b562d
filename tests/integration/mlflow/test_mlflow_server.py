"""The server of a folder: one at a time, found again, gone when stopped."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from orchestrator import mlflow_server
from orchestrator.errors import TrackingError
from orchestrator.tracking import Tracker


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "mlflow"
    mlflow_server.stop(tmp_path / "mlflow")


def test_one_server_per_folder_from_start_to_stop(folder: Path) -> None:
    assert mlflow_server.running(folder) is None
    mlflow_server.stop(folder)

    server = mlflow_server.start(folder)
    assert mlflow_server.start(folder) == server
    assert mlflow_server.running(folder) == server
    Tracker(server.url).check()
    code = "import sys, pathlib, orchestrator.mlflow_server as m; print(m.start(pathlib.Path(sys.argv[1])))"
    command = [sys.executable, "-c", code, str(folder)]
    other = subprocess.run(command, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == str(server)
    with pytest.raises(TrackingError, match=f"runs on port {server.port}"):
        mlflow_server.start(folder, server.port + 1)

    mlflow_server.stop(folder)
    mlflow_server.stop(folder)
    assert mlflow_server.running(folder) is None
    with pytest.raises(ProcessLookupError):
        os.killpg(server.pid, 0)
    with pytest.raises(TrackingError, match="cannot be reached"):
        Tracker(server.url).check()


def test_a_note_of_a_server_that_is_gone_is_not_believed(folder: Path) -> None:
    folder.mkdir()
    (folder / "server.lock").touch()
    (folder / "server.json").write_text(f'{{"url": "http://127.0.0.1:1", "port": 1, "pid": {os.getpid()}}}')
    assert mlflow_server.running(folder) is None
    mlflow_server.stop(folder)


def test_a_port_that_is_taken_is_said_at_once(folder: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as other:
        port = other.getsockname()[1]
        with pytest.raises(TrackingError, match=f"port {port} is taken"):
            mlflow_server.start(folder, port)
    assert mlflow_server.running(folder) is None


def test_a_server_that_cannot_start_leaves_nothing_behind(folder: Path) -> None:
    folder.mkdir()
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        connection.execute("create table alembic_version (version_num text)")
        connection.execute("insert into alembic_version values ('from the future')")
        connection.commit()
    with pytest.raises(TrackingError, match="does not start") as caught:
        mlflow_server.start(folder)
    assert str(folder / "server.log") in str(caught.value.hint)
    assert mlflow_server.running(folder) is None
