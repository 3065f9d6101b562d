"""One process that holds the service: its parts put together, served or embedded."""

from __future__ import annotations

import errno
import ipaddress
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from orchestrator.backends import Backend, open_backend
from orchestrator.client import Client
from orchestrator.controller.loop import LEASE, Loop
from orchestrator.controller.reconcile import Controller
from orchestrator.controller.track import Tracking
from orchestrator.db import open_database
from orchestrator.defaults import BackendName
from orchestrator.errors import SettingsError
from orchestrator.service import LOCAL, Service
from orchestrator.service.access import open_access
from orchestrator.service_log import log_to
from orchestrator.settings import Settings

ALONE_SECONDS = 10.0  # a process that is about to drive them needs some
_LAUNCHES_SEE: Mapping[BackendName, Literal["all", "folder", "none"]] = {
    "local": "all",
    "docker": "folder",
    "kubernetes": "none",
}


@dataclass(frozen=True)
class Host:
    """The service of this process, and the loop that may drive its runs."""

    service: Service
    loop: Loop

    @property
    def goes_on(self) -> bool:
        """Whether any run has something before it, or MLflow something to hear."""
        database, ever = self.service.database, float("inf")
        return bool(database.due(ever, 1) or (self.service.settings.mlflow_uri and database.to_tell(ever)))

    @property
    def left_alone(self) -> bool:
        """Whether runs have something before them, and nobody drives them."""
        database, now = self.service.database, self.service.clock()
        changed = database.last_change_ahead()
        return changed is not None and now - changed > ALONE_SECONDS and not database.is_lease_held(LEASE)

    @contextmanager
    def driving(self) -> Iterator[None]:
        """The controller turns in a thread of its own, for the length of a `with` block."""
        stop = threading.Event()
        thread = threading.Thread(target=self.loop.run, args=(stop,), name="controller", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            self.service.news.set()
            thread.join()

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A client of this very process, which sees and does everything."""
        from orchestrator.api.app import make_app
        from orchestrator.client.embedded import EmbeddedTransport

        transport = EmbeddedTransport(make_app(self.service, LOCAL))
        sees = _LAUNCHES_SEE[self.service.settings.backend]
        with Client("http://embedded", transport=transport, embedded=True, launches_see=sees) as client:
            yield client


@contextmanager
def open_host(
    settings: Settings, clock: Callable[[], float] = time.time, *, backend: Backend | None = None
) -> Iterator[Host]:
    """The parts of the service over the settings' database, and their backend where none is given."""
    with (
        closing(open_database(settings.database_url, settings.database_connections)) as database,
        closing(backend or open_backend(settings)) as launches,
    ):
        service = Service(settings, database, launches, clock)
        controller = Controller(settings, database, launches, clock, heard=service.heard)
        yield Host(service, Loop(controller, Tracking(settings, database), database, clock, service.news))


def serve(host: Host, address: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve HTTP and drive runs until SIGTERM or SIGINT; `ready` is told the URL once it listens.

    Raises:
        SettingsError: it would listen beyond this machine without knowing who asks, or it cannot listen.
    """
    from orchestrator.api.app import make_app
    from orchestrator.api.server import serve_http, serving_reports

    reports = urlsplit(host.service.settings.report_url or "")
    try:
        here = ipaddress.ip_address(socket.gethostbyname(address)).is_loopback
        access = open_access(host.service.settings, host.service.database, host.service.clock, here=here)
        listener = socket.create_server((address, port))
    except OSError as error:
        why = str(error.strerror).partition(" (")[0]
        taken = error.errno == errno.EADDRINUSE
        hint = "another `axo serve` may be there already; `--port` says another port" if taken else None
        raise SettingsError(f"{address}:{port} cannot be listened on: {why}", hint=hint) from error
    names = [address, *access.hosts, *([reports.hostname] if reports.hostname else [])]
    app = make_app(host.service, access, names)
    beside = serving_reports(app, Path(unquote(reports.path))) if reports.scheme == "unix" else nullcontext()
    with listener, beside, _scraped(host), host.driving():
        ready(f"http://{address}:{listener.getsockname()[1]}")
        serve_http(app, listener)


def _scraped(host: Host) -> AbstractContextManager[object]:
    """The address for Prometheus, where the operator names one."""
    from orchestrator.api.scrape import scraped
    from orchestrator.service.figures import figures

    section, service = host.service.settings.access, host.service
    if section is None or section.metrics is None:
        return nullcontext()
    return scraped(section.metrics, lambda: figures(service.database, service.clock()))


def drive_until_idle(settings: Settings) -> None:
    """Drive the runs of a home until none goes on; somebody else may do so meanwhile."""
    with open_host(settings) as host, host.driving():
        while host.goes_on:
            time.sleep(1.0)


if __name__ == "__main__":
    log_to(sys.stderr)
    drive_until_idle(Settings.from_environment())
