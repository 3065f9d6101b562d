"""An MLflow server on this machine: started once per folder, found again, stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from orchestrator.errors import TrackingError
from orchestrator.locks import try_lock

HOST = "127.0.0.1"
START_SECONDS = 180.0
STOP_SECONDS = 20.0

_STATE = "server.json"
_LOCK = "server.lock"
_LOG = "server.log"
_INSTALL = "install it: pip install 'axo-orchestrator[mlflow]'"

# Servers that this very process started: it has to reap them when they end.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass(frozen=True)
class Server:
    """A running server: where it answers, and the process group to end."""

    url: str
    port: int
    pid: int


def start(folder: Path, port: int | None = None) -> Server:
    """The server of `folder`, started if none runs there yet; returns once it answers.

    Its database, artifacts and log lie in `folder`. Without a `port` it takes the one it had last
    time if that is free, so that links stay true, else any free one.

    The server process holds a lock file for as long as it lives. So a process number used again by
    another program is never mistaken for it, and two callers at once get one server.

    Raises:
        TrackingError: the full mlflow package is missing, the port is taken, or it does not start.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + START_SECONDS
    with try_lock(folder / _LOCK) as lock:
        if lock is not None:
            wanted = _port(folder, port)
            (folder / _STATE).unlink(missing_ok=True)
            process = _launch(folder, wanted, lock)
            server = Server(f"http://{HOST}:{wanted}", wanted, process.pid)
            return _answering(folder, server, process, deadline)
    return _joined(folder, port, deadline)


def running(folder: Path) -> Server | None:
    """The server of `folder` if one runs there."""
    _reap()
    return _state(folder) if _is_held(folder) else None


def stop(folder: Path) -> None:
    """End the server of `folder` and wait until it is gone; none running is fine.

    Raises:
        TrackingError: it does not end.
    """
    deadline = time.monotonic() + STOP_SECONDS
    server = running(folder)
    if server is None:
        return
    _signal_group(server.pid, signal.SIGTERM)
    while _is_alive(folder, server):
        if time.monotonic() > deadline:
            _signal_group(server.pid, signal.SIGKILL)
            deadline += STOP_SECONDS
            if time.monotonic() > deadline:
                raise TrackingError(f"the MLflow server, process {server.pid}, does not end")
        time.sleep(0.05)


def _launch(folder: Path, port: int, lock: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "mlflow", "server"]
    command += ["--host", HOST, "--port", str(port), "--workers", "1", "--serve-artifacts"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", (folder / "artifacts").as_uri()]
    with open(folder / _LOG, "ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=(lock,),
        )
    _children[process.pid] = process
    return process


def _environment(values: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment without MLflow's own variables: they would point it elsewhere."""
    kept = {name: value for name, value in values.items() if not name.startswith(("MLFLOW_", "_MLFLOW_"))}
    return kept | {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # a third of the memory, two processes not ten
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
    }


def _answering(folder: Path, server: Server, process: subprocess.Popen[bytes], deadline: float) -> Server:
    """Wait for the first answer, then leave the note that others find it by."""
    while not _answers(server.url):
        if process.poll() is not None or time.monotonic() > deadline:
            _signal_group(process.pid, signal.SIGKILL)
            process.wait()
            _reap()
            raise TrackingError(f"the MLflow server does not start: {_last_words(folder)}", hint=_why(folder))
        time.sleep(0.1)
    temporary = folder / f"{_STATE}.new"
    temporary.write_text(json.dumps(asdict(server)))
    temporary.replace(folder / _STATE)
    return server


def _joined(folder: Path, port: int | None, deadline: float) -> Server:
    """The server that somebody else started, or is starting, in `folder`."""
    while _is_held(folder):
        server = _state(folder)
        if server is not None and _answers(server.url):
            if port not in (None, server.port):
                raise TrackingError(f"the MLflow server of {folder} runs on port {server.port}, not {port}")
            return server
        if time.monotonic() > deadline:
            raise TrackingError(
                f"the MLflow server of {folder} does not answer", hint=f"read {folder / _LOG}"
            )
        time.sleep(0.1)
    return start(folder, port)


def _is_held(folder: Path) -> bool:
    if not (folder / _LOCK).exists():
        return False
    with try_lock(folder / _LOCK) as lock:
        return lock is None


def _is_alive(folder: Path, server: Server) -> bool:
    """Whether any process of the server is left."""
    _reap()
    return server.pid in _children or _is_held(folder) or _is_listening(server.port)


def _reap() -> None:
    """Let go of our own servers that have ended, whoever ended them."""
    for pid in [pid for pid, process in _children.items() if process.poll() is not None]:
        del _children[pid]


def _signal_group(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


def _state(folder: Path) -> Server | None:
    try:
        return Server(**json.loads((folder / _STATE).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _port(folder: Path, wanted: int | None) -> int:
    """The port asked for, else the one of last time, else a free one."""
    state = _state(folder)
    if wanted is not None:
        if _is_listening(wanted):
            raise TrackingError(f"port {wanted} is taken", hint="give another one, or none")
        return wanted
    if state is not None and not _is_listening(state.port):
        return state.port
    with closing(socket.socket()) as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _is_listening(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.settimeout(1)
        return probe.connect_ex((HOST, port)) == 0


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url}/health", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _last_words(folder: Path) -> str:
    lines = (folder / _LOG).read_text(errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"


def _why(folder: Path) -> str:
    return _INSTALL if "No module named" in _last_words(folder) else f"read {folder / _LOG}"
