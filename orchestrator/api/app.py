"""The FastAPI application: its routes, its errors, its document."""

from __future__ import annotations

from fastapi import FastAPI

from orchestrator import __version__
from orchestrator.api import problems
from orchestrator.api.bounds import Bounds
from orchestrator.api.routes import health, runs
from orchestrator.service import Caller, Service

_DESCRIPTION = """\
Submit a spec, follow its run, fetch its adapter. Every error has the same body (`ProblemBody`):
a code for programs, a sentence, a hint at what to try next, and all faults at once.
"""


def make_app(service: Service, everybody: Caller | None = None) -> FastAPI:
    """The application over a service; `everybody` is who each request comes from where nobody has to
    say who they are."""
    app = FastAPI(
        title="axo",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        responses=problems.RESPONSES,
    )
    app.state.service = service
    app.state.everybody = everybody
    app.add_middleware(Bounds)
    problems.install(app)
    app.include_router(health.router)
    app.include_router(runs.router, prefix="/api/v1")
    return app
