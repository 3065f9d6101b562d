"""A second address, for Prometheus alone: `GET /metrics` and nothing else, without a credential."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from socket import AF_INET, AF_INET6

from orchestrator.errors import OrchestratorError, SettingsError

SECONDS = 10.0  # that a request may take to arrive


@contextmanager
def scraped(address: str, figures: Callable[[], bytes]) -> Iterator[int]:
    """Answer Prometheus at `<host>:<port>` for the length of a `with` block; the port.

    Raises:
        SettingsError: that address cannot be listened on.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]")

    class Server(socketserver.ThreadingTCPServer):
        address_family = AF_INET6 if ":" in host else AF_INET
        allow_reuse_address = daemon_threads = True

    try:
        server = Server((host, int(port)), _handler(figures))
    except (OSError, OverflowError) as error:
        raise SettingsError(f"access.metrics: {address} cannot be listened on: {error}") from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(figures: Callable[[], bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = SECONDS
        server_version, sys_version = "axo", ""

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                return self._say(404, b"only /metrics is here\n")
            try:
                self._say(200, figures())
            except OrchestratorError as error:
                self._say(503, f"{error}\n".encode())

        def _say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """A scrape is nothing to speak of."""

    return Handler
