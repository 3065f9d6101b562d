"""A second address, for Prometheus alone: `GET /metrics` and nothing else, without a credential."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from orchestrator.api.server import serving_beside
from orchestrator.errors import OrchestratorError, SettingsError


@contextmanager
def scraped(address: str, figures: Callable[[], bytes]) -> Iterator[int]:
    """Answer Prometheus at `<host>:<port>` for the length of a `with` block; the port.

    Raises:
        SettingsError: that address cannot be listened on.
    """
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    app = Starlette(routes=[Route("/metrics", _answering(figures))])
    with socket.socket(family) as listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host.strip("[]"), int(port)))
            listener.listen()
        except (OSError, OverflowError) as error:
            raise SettingsError(f"access.metrics: {address} cannot be listened on: {error}") from error
        with serving_beside(app, listener, "metrics"):
            yield listener.getsockname()[1]


def _answering(figures: Callable[[], bytes]) -> Callable[[Request], Response]:
    def answer(_: Request) -> Response:
        try:
            return Response(figures(), media_type="text/plain; version=0.0.4; charset=utf-8")
        except OrchestratorError as error:
            return PlainTextResponse(f"{error}\n", 503)

    return answer
