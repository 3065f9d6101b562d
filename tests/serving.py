"""A real server, in a process of its own or in a thread."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import uvicorn
from fastapi import FastAPI


@dataclass(frozen=True)
class Server:
    """What it costs, read from outside."""

    pid: int
    url: str
    log: Path

    @property
    def peak_mib(self) -> float:
        """The most memory it has had resident."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]

    @property
    def processor_seconds(self) -> float:
        """The processor time it has taken, to a hundredth of a second."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(app: FastAPI, port: int = 0) -> Iterator[int]:
    """An application on a port of this machine, in a thread of this process."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def serving(home: Path, port: int = 0, **variables: str) -> Iterator[Server]:
    """A server of a home, warm: what it imports and keeps for its first requests is there."""
    (home / "python").touch()
    command = [sys.executable, "-m", "orchestrator.cli", "serve", "--port", str(port)]
    environment = {
        **os.environ,
        "AXO_HOME": str(home),
        "AXO_TRAINER_PYTHON": str(home / "python"),
        **variables,
    }
    words = home / "serve.log"
    with words.open("w") as log, subprocess.Popen(command, env=environment, stderr=log) as process:
        try:
            while not (found := re.search(r"axo serves (\S+)", words.read_text())):
                assert process.poll() is None, words.read_text()
                time.sleep(0.05)
            url = found[1]
            for _ in range(20):
                httpx.post(f"{url}/api/v1/runs", json={"spec": "name: x"})
            yield Server(process.pid, url, words)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
