"""The FastAPI application: its routes, its errors, its document."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import FastAPI

from orchestrator import __version__
from orchestrator.api import problems
from orchestrator.api.bounds import Bounds
from orchestrator.api.document import document, operation_id
from orchestrator.api.entrance import Entrance
from orchestrator.api.feed import Feed
from orchestrator.api.hosts import Hosts
from orchestrator.api.places import Places
from orchestrator.api.routes import (
    adapters,
    catalogue,
    datasets,
    files,
    health,
    keys,
    mappings,
    plans,
    reports,
    runs,
    streams,
)
from orchestrator.api.streams import Streams
from orchestrator.service import Access, Caller, Service

_DESCRIPTION = """\
Submit a spec, follow its run, fetch its adapter. Every error has the same body (`ProblemBody`):
a code for programs, a sentence, a hint at what to try next, and all faults at once.
"""


def make_app(service: Service, who: Caller | Access, hosts: Collection[str] | None = None) -> FastAPI:
    """The application over a service; `who` tells who each request comes from, or is it.

    `hosts` are the names it goes by, besides those of this machine; None inside a process, where there
    is no name to be asked by.
    """
    app = FastAPI(
        title="axo",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses=problems.RESPONSES,
        generate_unique_id_function=operation_id,
    )
    app.state.service = service
    app.state.places = Places()
    app.state.streams = Streams(service, Feed(service.database.marks))
    app.add_middleware(Bounds)
    app.add_middleware(Entrance, who=who, reports=service.reports)
    if hosts is not None:
        app.add_middleware(Hosts, known=hosts)
    problems.install(app)
    app.include_router(health.router)
    for router in (
        streams.router,
        runs.router,
        adapters.router,
        catalogue.router,
        plans.router,
        files.router,
        datasets.router,
        mappings.router,
        keys.router,
        reports.router,
    ):
        app.include_router(router, prefix="/api/v1")
    app.openapi = document(app)  # type: ignore[method-assign]
    return app
