"""The way to a service: requests that are made again while that may help, answers as bodies or our errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from orchestrator import errors, wire
from orchestrator.client.patience import (
    CUT,
    UNSENT,
    Passing,
    Patience,
    Wait,
    is_foreign,
    tls_hint,
    wanted_pause,
)

API = "/api/v1"
CONNECT_SECONDS, READ_SECONDS = 5.0, 60.0
_MOST_ITEMS = 500  # in one page
_IS_IT_UP = "is it up, and is that its URL? `axo context list` has the services that you know"
_ERRNO = re.compile(r"^\[Errno -?\d+\] ")
_JSON = {"Content-Type": "application/json"}
_adapter: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)

Answer = TypeVar("Answer")
Page = TypeVar("Page", wire.RunPage, wire.MappingPage)
# Opens a stream, with headers and parameters.
OpenStream = Callable[[Mapping[str, str], Mapping[str, Any]], AbstractContextManager[httpx.Response]]


class Connection:
    """Speaks to the service at a URL; `headers` and what `auth` adds go with every request, `transport` is
    another way there.

    Every method raises the error that the service raised, and UnreachableError where it stays away or where
    something else answers.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        patience: Patience,
        transport: httpx.BaseTransport | None = None,
        auth: httpx.Auth | None = None,
    ) -> None:
        self.url, self.patience = url, patience
        timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        self._http = httpx.Client(
            base_url=url, headers=headers, timeout=timeout, transport=transport, auth=auth
        )

    def close(self) -> None:
        self._http.close()

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: BaseModel | bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        seconds: float = READ_SECONDS,
        again: bool = True,
        wait: Wait | None = None,
    ) -> httpx.Response:
        """One request; where it may be made `again`, it is, for as long as patience lasts: `wait` knows."""
        content, kind = (body.model_dump_json(), _JSON) if isinstance(body, BaseModel) else (body, {})
        wait = wait or Wait(self.patience)
        while True:
            try:
                with self._passing(CUT if again else UNSENT):
                    answer = self._http.request(
                        method,
                        f"{API}{path}",
                        content=content,
                        params=_said(params),
                        headers={**kind, **(headers or {})},
                        timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS),
                    )
                    told = _checked(answer, again=again)
                wait.over()
                return told
            except Passing as failure:
                wait.after(failure)

    def read(self, kind: type[Answer], method: str, path: str, **request: Any) -> Answer:
        """The body of an answer; `request` is as `ask` has it."""
        answer = self.ask(method, path, **request)
        try:
            body: Answer = _adapter(kind).validate_json(answer.content)
        except ValidationError as error:
            raise errors.UnreachableError(
                f"{answer.request.url} answers with something that is not this service's",
                hint="is the URL of the context that of an axo service, of a version near to this client's?",
            ) from error
        return body

    def pages(self, kind: type[Page], path: str, limit: int, asked: Mapping[str, Any]) -> Iterator[Page]:
        """Pages of a list, `limit` items in all at most."""
        cursor: str | None = None
        while limit > 0:
            params = {**asked, "limit": min(limit, _MOST_ITEMS), "cursor": cursor}
            page = self.read(kind, "GET", path, params=params)
            yield page
            limit, cursor = limit - len(page.items), page.cursor
            if cursor is None:
                return

    @contextmanager
    def streamed(
        self, path: str, headers: Mapping[str, str], params: Mapping[str, Any]
    ) -> Iterator[httpx.Response]:
        """An answer while it comes.

        Raises:
            Passing: it was cut, or did not begin.
        """
        with (
            self._passing((httpx.TransportError,)),
            self._http.stream("GET", f"{API}{path}", params=_said(params), headers=headers) as answer,
        ):
            if answer.is_error:
                answer.read()
            yield _checked(answer)

    @contextmanager
    def _passing(self, kinds: tuple[type[httpx.TransportError], ...]) -> Iterator[None]:
        """What went wrong on the way, as an error of ours; failures of those kinds may pass."""
        try:
            yield
        except kinds as error:
            if tls_hint(error):
                raise self._unreachable(error) from error
            raise Passing(self._unreachable(error), lost=not isinstance(error, UNSENT)) from error
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx.TransportError) -> errors.UnreachableError:
        what = _ERRNO.sub("", str(error)) or type(error).__name__
        return errors.UnreachableError(
            f"the service at {self.url} does not answer: {what}", hint=tls_hint(error) or _IS_IT_UP
        )


def _said(params: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Without parameters that say nothing."""
    if params is None:
        return None
    return {name: value for name, value in params.items() if value not in (None, (), [])}


def _checked(answer: httpx.Response, *, again: bool = True) -> httpx.Response:
    """The answer, where the request was done.

    Raises:
        Passing: it was not, and may be made `again`.
        OrchestratorError: it was not.
    """
    if answer.is_success:
        return answer
    error, pause = _told(answer), wanted_pause(answer)
    if pause is None or not again:
        raise error
    raise Passing(error, pause, lost=is_foreign(answer))


def _told(answer: httpx.Response) -> errors.OrchestratorError:
    """What an answer says went wrong."""
    try:
        return _raised(wire.ProblemBody.model_validate_json(answer.content).error)
    except ValidationError as error:
        what = f"{answer.request.url} answers {answer.status_code}, not as this service would"
        hint = (
            "is the URL right, with https:// or http://, and what stands before the service, such as a proxy?"
        )
        if answer.has_redirect_location:
            what = f"{answer.request.url} sends on to {answer.headers['location']}"
            hint = "`axo login` with the URL that the service has itself"
        foreign = errors.UnreachableError(what, hint=hint)
        foreign.__cause__ = error
        return foreign


def _raised(problem: wire.Problem) -> errors.OrchestratorError:
    """The error that the service raised, as this process raises it."""
    message = "\n".join([problem.message, *(f"  {fault}" for fault in problem.faults)])
    if problem.code == "bug":
        message += f" (request {problem.request_id})"
    return errors.error_of(problem.code, message, problem.hint, problem.faults)
