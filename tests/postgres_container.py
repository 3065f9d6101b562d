"""The PostgreSQL that a team will run, from its image, where AXO_TEST_POSTGRES_IMAGE names one.

Without it the tests start the server that comes with their environment; both meet the same suites.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

READY = re.compile(r"listening on IPv4 .*ready to accept connections", re.DOTALL)  # not while it is set up


@dataclass(frozen=True)
class PostgresContainer:
    """A server in a container; its user is `postgres`, who needs no password."""

    port: int

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"


@contextmanager
def postgres_container(image: str, engine: str) -> Iterator[PostgresContainer]:
    """A running server of the official image or one that takes the same, removed afterwards.

    It shares the machine's network, since an engine of the tests' own has no other.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:  # read when the library is imported
        patch.setenv("DOCKER_HOST", engine)
        patch.setenv("TESTCONTAINERS_RYUK_DISABLED", "true")  # its reaper is an image too
        from testcontainers.core.container import DockerContainer
        from testcontainers.core.wait_strategies import LogMessageWaitStrategy

        container = (
            DockerContainer(image, network_mode="host")
            .with_env("POSTGRES_HOST_AUTH_METHOD", "trust")
            .with_command(
                ["postgres", "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
            )
            .waiting_for(LogMessageWaitStrategy(READY))
        )
        with container:
            yield PostgresContainer(port)
