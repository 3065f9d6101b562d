"""The API over HTTP with nobody driving its runs: what a bench or a proof of the API alone asks."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from orchestrator.api.app import make_app
from orchestrator.api.server import http_config, send_at_once
from orchestrator.host import Host, open_host
from orchestrator.service import Caller
from orchestrator.settings import Settings


@contextmanager
def serving(host: Host) -> Iterator[str]:
    """The URL of a server in a thread of this process."""
    app = make_app(host.service, Caller())
    server = uvicorn.Server(http_config(app))
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        send_at_once(listener)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="serving")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


if __name__ == "__main__":
    with open_host(Settings.from_environment()) as opened, serving(opened) as url:
        print(url, flush=True)
        sys.stdin.read()  # until its end
