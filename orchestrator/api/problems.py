"""The one error body: what every request gets that was not done."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator import contract, errors, wire

REQUEST_ID = "X-Request-Id"

_RETRY_AFTER = {
    "description": "The same request may be made again after so many seconds.",
    "schema": {"type": "integer", "minimum": 1},
}

# Every error of every route; the second for routes whose own answer is no JSON.
RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "model": wire.ProblemBody,
        "description": "Why it was not done.",
        "headers": {"Retry-After": _RETRY_AFTER},
    }
}
RESPONSES_BESIDE_TEXT: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Why it was not done.",
        "headers": {"Retry-After": _RETRY_AFTER},
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
    }
}

STATUS: Mapping[type[errors.OrchestratorError], int] = {
    errors.FaultsError: 422,
    errors.AuthError: 401,
    errors.ForbiddenError: 403,
    errors.NotFoundError: 404,
    errors.ConflictError: 409,
    errors.TooLargeError: 413,
    errors.QuotaError: 413,
    errors.ThrottledError: 429,
    errors.BusyError: 429,
    errors.SettingsError: 503,
    errors.UnreachableError: 503,
    errors.DatabaseError: 503,
    errors.FullError: 507,
    errors.StorageError: 503,
    errors.StorageRefusedError: 507,
    errors.BackendError: 503,
    errors.TrackingError: 503,
    errors.RegistryError: 503,
}
# After how many seconds a request that failed so may be made again.
AGAIN: Mapping[type[errors.OrchestratorError], int] = {
    errors.ThrottledError: 60,
    errors.BusyError: 5,
    errors.UnreachableError: 2,
    errors.DatabaseError: 1,
    errors.StorageError: 2,
}
_CODES = {
    400: "usage",
    401: "auth",
    404: "not_found",
    405: "method",
    408: "slow",
    413: "too_large",
    422: "usage",
}
MAX_FAULTS = 100
_GIVEN_ID = re.compile(r"[\w.-]{1,64}")
_log = logging.getLogger(__name__)


class RequestIds:
    """Gives each request an id, or keeps the one it came with, and puts it on the answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        given = dict(scope["headers"]).get(REQUEST_ID.lower().encode(), b"").decode("latin-1")
        name = given if _GIVEN_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = name

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (REQUEST_ID.lower().encode(), name.encode())]
            await send(message)

        return await self._app(scope, receive, answer)


def install(app: FastAPI) -> None:
    """Answer every error of this application in the one form."""
    app.add_middleware(RequestIds)
    app.exception_handler(errors.OrchestratorError)(answer)
    app.exception_handler(contract.StoreError)(_storage)
    app.exception_handler(contract.ContractError)(_unsound)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(Exception)(_bug)


def status_of(error: errors.OrchestratorError) -> int:
    """The HTTP status of an error: that of its class or of the nearest class above it."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def answer(request: Request, error: errors.OrchestratorError) -> JSONResponse:
    """What a request gets that raised an error of ours."""
    faults = list(error.faults) if isinstance(error, errors.FaultsError) else []
    path = next((fault.path for fault in faults), None)
    status = status_of(error)
    if status >= 500:
        _log.warning("%s: %s", _id(request), error)
    told = _answer(request, status, error.code, error.args[0], error.hint, path, faults)
    if type(error) in AGAIN:
        told.headers["Retry-After"] = str(AGAIN[type(error)])
    return told


def _storage(request: Request, error: contract.StoreError) -> JSONResponse:
    kind = errors.StorageError if isinstance(error, contract.StorageAway) else errors.StorageRefusedError
    return answer(request, kind(str(error)))


def _unsound(request: Request, error: contract.ContractError) -> JSONResponse:
    """Storage holds something else than what it must, such as what code of a model has put there."""
    _log.warning("%s: %s", _id(request), error)
    what = "what storage holds of it is not what it must be"
    return answer(request, errors.ConflictError(what, hint="the service's log says what that is"))


def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """What FastAPI found wrong with parameters or body, all at once."""
    found = error.errors()
    faults = [_fault(each) for each in found[:MAX_FAULTS]]
    count = len(found)
    message = f"{count} fault{'s' if count != 1 else ''} in the request"
    return _answer(request, 422, "usage", message, None, faults[0].path if faults else None, faults)


def _fault(found: Mapping[str, Any]) -> errors.Fault:
    where, *path = (str(part) for part in found["loc"])
    return errors.Fault(found["msg"], path=".".join([where, *path]))


def _http(request: Request, error: HTTPException) -> JSONResponse:
    code = _CODES.get(error.status_code, "http")
    told = _answer(request, error.status_code, code, str(error.detail))
    told.headers.update(error.headers or {})
    if error.status_code == 405:
        told.headers["Allow"] = ", ".join(sorted(_methods(request)))
    return told


def _methods(request: Request) -> set[str]:
    """Every method that some route has for this address; the router itself tells those of one route."""
    matching = (route for route in request.app.routes if route.matches(request.scope)[0] is not Match.NONE)
    return {method for route in matching for method in getattr(route, "methods", None) or ()}


def _bug(request: Request, error: Exception) -> JSONResponse:
    _log.exception("%s: a fault of the service itself", _id(request), exc_info=error)
    hint = "please report it, with the request's id"
    return _answer(request, 500, "bug", "a fault of the service itself", hint)


def _answer(
    request: Request,
    status: int,
    code: str,
    message: str,
    hint: str | None = None,
    path: str | None = None,
    faults: Sequence[errors.Fault] = (),
) -> JSONResponse:
    problem = wire.Problem(
        code=code,
        message=message,
        hint=hint,
        path=path,
        request_id=_id(request),
        faults=list(faults),
    )
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    return JSONResponse(wire.ProblemBody(error=problem).model_dump(mode="json"), status, headers)


def _id(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))
