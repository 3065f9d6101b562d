"""The typed Python client of the service; the command line uses nothing else.

    with Client("https://axo.example", key="axo_...") as axo:
        run = axo.submit(wire.Submission(spec=text))
        for part in axo.logs(run.id):
            print(part.text, end="")

Every method raises the errors of `orchestrator.errors`, as the service raised them, and
UnreachableError where it cannot be reached. What may be said twice is said again for some seconds
(`patience`) after a failed connection and where the service asks for it: asking, submitting, which carries
an idempotency key, wanting something of a run; only making a key is not.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from orchestrator import errors, wire
from orchestrator.client.download import Told, fetch_file
from orchestrator.client.patience import (
    CUT,
    FOLLOW_SECONDS,
    UNSENT,
    Passing,
    Patience,
    Wait,
    tls_hint,
    wanted_pause,
)
from orchestrator.client.streams import Change, changes, log_parts
from orchestrator.runs import Keep, Status

API = "/api/v1"
CONNECT_SECONDS, READ_SECONDS = 5.0, 60.0
FINISH_SECONDS = 600.0  # the service reads the whole file again
_IS_IT_UP = "is it up, and is the URL of the context right? `axo context` shows it"
_MOST_EVENTS = 1000  # in one answer
_MOST_ITEMS = 500  # in one page

Body = TypeVar("Body", bound=BaseModel)
Page = TypeVar("Page", wire.RunPage, wire.MappingPage)
_ATTEMPTS = TypeAdapter(list[wire.Attempt])
_EVENTS = TypeAdapter(list[wire.Event])
_FILES = TypeAdapter(list[wire.File])
_KEYS = TypeAdapter(list[wire.Key])
_SERIES = TypeAdapter(list[wire.Series])
_MACHINES = TypeAdapter(list[wire.Machine])
_REGISTRIES = TypeAdapter(list[wire.Registry])
_DATASETS = TypeAdapter(list[wire.Dataset])
_MODELS = TypeAdapter(list[wire.Model])


class Client:
    """The service at a URL, for the holder of a key, or of a token that may open several projects, of which
    `project` is meant; `transport` is another way there.

    `embedded` says that the service is part of this very process: it drives runs only while this lives.
    Its launches see of this machine's files `all`, those of a spec's own `folder`, or `none`.
    `told` hears why the service is waited for, before every pause, and None once it answers again.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        transport: httpx.BaseTransport | None = None,
        project: str | None = None,
        embedded: bool = False,
        launches_see: Literal["all", "folder", "none"] = "none",
        sleep: Callable[[float], None] = time.sleep,
        told: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self.url = url.rstrip("/")
        self.embedded, self.launches_see = embedded, launches_see
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        if project:
            headers["Axo-Project"] = project
        timeout = httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout, transport=transport)
        self.patience = Patience(sleep, told)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def submit(self, asked: wire.Submission, key: str | None = None) -> wire.RunDetail:
        """Submit a spec; the same idempotency key gives the same run."""
        headers = {"Idempotency-Key": key or secrets.token_hex(16), "Content-Type": "application/json"}
        answer = self._ask("POST", "/runs", headers=headers, content=asked.model_dump_json())
        return _read(wire.RunDetail, answer)

    def clone(self, name: str, asked: wire.CloneAsked, key: str | None = None) -> wire.RunDetail:
        """Submit a run's spec and files once more, with some fields changed."""
        headers = {"Idempotency-Key": key or secrets.token_hex(16), "Content-Type": "application/json"}
        path = f"/runs/{_part(name)}/clone"
        return _read(
            wire.RunDetail, self._ask("POST", path, headers=headers, content=asked.model_dump_json())
        )

    def plan(self, asked: wire.Submission, against: str | None = None) -> wire.Plan:
        """What a run of the submission would be, and what differs from the run `against`; nothing of it is
        made."""
        headers, timeout = {"Content-Type": "application/json"}, httpx.Timeout(600, connect=CONNECT_SECONDS)
        params, content = {"against": against}, asked.model_dump_json()
        answer = self._ask("POST", "/plans", params=params, headers=headers, content=content, timeout=timeout)
        return _read(wire.Plan, answer)

    def runs(
        self, *, status: Iterable[Status] = (), name: str | None = None, limit: int = 50
    ) -> Iterator[wire.Run]:
        """Runs, newest first, `limit` at most."""
        asked = {"status": [each.value for each in status], "name": name}
        for page in self._pages(wire.RunPage, "/runs", limit, asked):
            yield from page.items

    def run(self, name: str) -> wire.RunDetail:
        """The run of that id, else the newest of that name."""
        return _read(wire.RunDetail, self._ask("GET", f"/runs/{_part(name)}"))

    def delete_run(self, run: str) -> wire.Deleted:
        """Delete the run of that very id, which has ended; it may be said twice."""
        return _read(wire.Deleted, self._ask("DELETE", f"/runs/{_part(run)}"))

    def pin(self, name: str) -> wire.Run:
        """Keep a run and its files, also a temporary one, until it is unpinned."""
        return self._want(name, "pin")

    def unpin(self, name: str) -> wire.Run:
        """Let a run go its way again."""
        return self._want(name, "unpin")

    def cancel(self, name: str, keep: Keep = Keep.LAST) -> wire.Run:
        """Stop a run for good; `keep` says which checkpoint becomes its adapter."""
        path = f"/runs/{_part(name)}/cancel"
        return _read(wire.Run, self._ask("POST", path, params={"keep": keep.value}))

    def pause(self, name: str) -> wire.Run:
        """Stop a run for now."""
        return self._want(name, "pause")

    def resume(self, name: str) -> wire.Run:
        """Go on with a paused run."""
        return self._want(name, "resume")

    def publish(self, name: str) -> wire.Run:
        """Push a finished adapter to the registries that lack it, now."""
        return self._want(name, "publish")

    def verify(self, name: str) -> dict[str, list[str]]:
        """Re-read what was published of a run: what is untrue of it, by reference."""
        found: dict[str, list[str]] = self._ask("GET", f"/runs/{_part(name)}/verify").json()
        return found

    def attempts(self, name: str) -> list[wire.Attempt]:
        """The attempts of a run, oldest first."""
        return _ATTEMPTS.validate_json(self._ask("GET", f"/runs/{_part(name)}/attempts").content)

    def events(self, name: str, after: int = 0) -> list[wire.Event]:
        """What happened to a run after the event of that id, oldest first."""
        found: list[wire.Event] = []
        while True:
            params = {"after": found[-1].id if found else after, "limit": _MOST_EVENTS}
            answer = self._ask("GET", f"/runs/{_part(name)}/events", params=params)
            page = _EVENTS.validate_json(answer.content)
            found += page
            if len(page) < _MOST_EVENTS:
                return found

    def metrics(
        self, name: str, *keys: str, points: int = 1000, first: int = 0, last: int | None = None
    ) -> dict[str, list[wire.Point]]:
        """The points of metrics by their keys at steps `first` to `last`, thinned out to `points` each; all
        metrics without keys."""
        params = {"key": keys, "points": points, "first": first, "last": last}
        answer = self._ask("GET", f"/runs/{_part(name)}/metrics", params=params)
        return {series.key: series.points for series in _SERIES.validate_json(answer.content)}

    def config(self, name: str) -> str:
        """The Axolotl config of the run's newest launch that has one."""
        return self._ask("GET", f"/runs/{_part(name)}/config").text

    def logs(self, name: str, seen: Mapping[str, int] | None = None) -> Iterator[wire.LogPart]:
        """What a run's attempts printed beyond the bytes in `seen`, by the name of each text."""
        path = f"/runs/{_part(name)}/logs"
        wait = Wait(self.patience)
        return log_parts(lambda _, params: self._open(path, {}, params), seen or {}, lambda: True, wait)

    def create_key(self, name: str, role: wire.RoleName, days: int = 365) -> wire.FreshKey:
        """Make an API key of the project; its text is told this once."""
        asked = wire.KeyAsked(name=name, role=role, days=days)
        headers = {"Content-Type": "application/json"}
        answer = self._ask("POST", "/keys", again=False, headers=headers, content=asked.model_dump_json())
        return _read(wire.FreshKey, answer)

    def keys(self) -> list[wire.Key]:
        """The project's API keys, newest first."""
        return _KEYS.validate_json(self._ask("GET", "/keys").content)

    def revoke_key(self, key: str) -> wire.Key:
        """Revoke the API key of that id."""
        return _read(wire.Key, self._ask("DELETE", f"/keys/{_part(key)}"))

    def begin_file(self, sha256: str, size: int) -> wire.File:
        """Announce a file; what of it the service has not yet."""
        asked = wire.FileAsked(sha256=sha256, size=size)
        headers = {"Content-Type": "application/json"}
        return _read(wire.File, self._ask("POST", "/files", headers=headers, content=asked.model_dump_json()))

    def files(self, limit: int = 100) -> list[wire.File]:
        """The files of the project, those announced last first."""
        return _FILES.validate_json(self._ask("GET", "/files", params={"limit": limit}).content)

    def file(self, sha256: str) -> wire.File:
        """What of a file is there."""
        return _read(wire.File, self._ask("GET", f"/files/{_part(sha256)}"))

    def delete_file(self, sha256: str) -> None:
        """Delete a file. A run that has not prepared its data fails without it."""
        self._ask("DELETE", f"/files/{_part(sha256)}")

    def put_part(self, sha256: str, part: int, data: bytes) -> None:
        """Send a part of a file; it may be sent again."""
        self._ask("PUT", f"/files/{sha256}/parts/{part}", content=data)

    def finish_file(self, sha256: str) -> wire.File:
        """Have a file proven by its digest."""
        timeout = httpx.Timeout(FINISH_SECONDS, connect=CONNECT_SECONDS)
        return _read(wire.File, self._ask("POST", f"/files/{sha256}/finish", timeout=timeout))

    def mappings(self, limit: int = 100) -> Iterator[wire.MappingListed]:
        """The mappings that specs may name, by their names, `limit` at most."""
        for page in self._pages(wire.MappingPage, "/mappings", limit, {}):
            yield from page.items

    def mapping(self, name: str) -> wire.NamedMapping:
        """The mapping of that name."""
        return _read(wire.NamedMapping, self._ask("GET", f"/mappings/{_part(name)}"))

    def put_mapping(self, name: str, text: str) -> wire.MappingListed:
        """Keep a mapping under a name, in the place of the one that has it."""
        headers, content = (
            {"Content-Type": "application/json"},
            wire.MappingAsked(text=text).model_dump_json(),
        )
        answer = self._ask("PUT", f"/mappings/{_part(name)}", headers=headers, content=content)
        return _read(wire.MappingListed, answer)

    def delete_mapping(self, name: str) -> None:
        """Delete a mapping; runs keep the text that they were submitted with."""
        self._ask("DELETE", f"/mappings/{_part(name)}")

    def machines(self) -> list[wire.Machine]:
        """The machines that a spec may name."""
        return _MACHINES.validate_json(self._ask("GET", "/machines").content)

    def registries(self) -> list[wire.Registry]:
        """Where adapters may be published to."""
        return _REGISTRIES.validate_json(self._ask("GET", "/registries").content)

    def datasets(self, limit: int = 100) -> list[wire.Dataset]:
        """The datasets that runs used, the last used first."""
        return _DATASETS.validate_json(self._ask("GET", "/datasets", params={"limit": limit}).content)

    def models(self, limit: int = 100) -> list[wire.Model]:
        """The published versions, newest first."""
        return _MODELS.validate_json(self._ask("GET", "/models", params={"limit": limit}).content)

    def adapter(self, name: str) -> wire.Adapter:
        """The files of a run's finished adapter."""
        return _read(wire.Adapter, self._ask("GET", f"/runs/{_part(name)}/adapter"))

    def fetch_adapter(self, adapter: wire.Adapter, folder: Path, told: Told = lambda _: None) -> None:
        """Write the files of an adapter into a folder, each checked; `told` hears of bytes as they come."""
        for file in adapter.files:
            path = f"/runs/{_part(adapter.run)}/adapter/{quote(file.path)}"
            fetch_file(
                partial(self._open_plain, path),
                file,
                folder / file.path,
                told,
                Wait(self.patience, FOLLOW_SECONDS),
            )

    def follow(self, name: str, after: int = 0, heartbeat: float = 15.0) -> Generator[Change]:
        """What happens to a run: its events after that id, once each, the run whenever it changed, and
        None at least every `heartbeat` seconds; it ends with the run. A cut is mended by itself, and a
        service that goes away is waited for, with a None before every pause."""
        path, params = f"/runs/{_part(name)}/events/stream", {"heartbeat": heartbeat}
        wait = Wait(self.patience, FOLLOW_SECONDS)
        return changes(lambda headers, _: self._open(path, headers, params), after, wait)

    def follow_logs(self, name: str, seen: Mapping[str, int] | None = None) -> Iterator[wire.LogPart]:
        """The parts of a run's logs beyond `seen`, as they are written, until the run has ended."""
        path = f"/runs/{_part(name)}/logs/stream"

        def ended() -> bool:
            return self.run(name).status.final

        wait = Wait(self.patience, FOLLOW_SECONDS)
        return log_parts(lambda _, params: self._open(path, {}, params), seen or {}, ended, wait)

    def _open(
        self, path: str, headers: Mapping[str, str], params: Mapping[str, Any]
    ) -> AbstractContextManager[httpx.Response]:
        return self._streamed("GET", path, headers=dict(headers), params=dict(params))

    def _open_plain(self, path: str, headers: Mapping[str, str]) -> AbstractContextManager[httpx.Response]:
        """Open what must come byte by byte as it is."""
        return self._open(path, {"Accept-Encoding": "identity", **headers}, {})

    def _want(self, name: str, what: str) -> wire.Run:
        return _read(wire.Run, self._ask("POST", f"/runs/{_part(name)}/{what}"))

    def _pages(self, kind: type[Page], path: str, limit: int, asked: Mapping[str, Any]) -> Iterator[Page]:
        """Pages of a list, `limit` items in all at most."""
        cursor: str | None = None
        while limit > 0:
            params = {**asked, "limit": min(limit, _MOST_ITEMS), "cursor": cursor}
            page = _read(kind, self._ask("GET", path, params=params))
            yield page
            limit, cursor = limit - len(page.items), page.cursor
            if cursor is None:
                return

    def _ask(self, method: str, path: str, *, again: bool = True, **request: Any) -> httpx.Response:
        """One request; where it may be made `again`, it is, for as long as patience lasts."""
        wait = Wait(self.patience)
        while True:
            try:
                with self._passing(CUT if again else UNSENT):
                    answer = self._http.request(method, f"{API}{path}", **_cleaned(request))
                    told = _checked(answer, again=again)
                wait.over()
                return told
            except Passing as failure:
                wait.after(failure)

    @contextmanager
    def _streamed(self, method: str, path: str, **request: Any) -> Iterator[httpx.Response]:
        """An answer while it comes.

        Raises:
            Passing: it was cut, or did not begin.
        """
        with (
            self._passing((httpx.TransportError,)),
            self._http.stream(method, f"{API}{path}", **_cleaned(request)) as answer,
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
            raise Passing(self._unreachable(error)) from error
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx.TransportError) -> errors.UnreachableError:
        what = str(error) or type(error).__name__
        return errors.UnreachableError(
            f"the service at {self.url} does not answer: {what}", hint=tls_hint(error) or _IS_IT_UP
        )


def _read(kind: type[Body], answer: httpx.Response) -> Body:
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as error:
        raise errors.UnreachableError(
            f"{answer.request.url} answers with something that is not this service's",
            hint="is the URL of the context that of an axo service, of a version near to this client's?",
        ) from error


def _checked(answer: httpx.Response, *, again: bool = True) -> httpx.Response:
    """The answer, where the request was done.

    Raises:
        Passing: it was not, and may be made `again`.
        OrchestratorError: it was not.
    """
    if answer.is_success:
        return answer
    error, pause = _told(answer), wanted_pause(answer)
    raise error if pause is None or not again else Passing(error, pause)


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
    kinds = {errors.code_of(kind): kind for kind in errors.every_error()}
    kind = kinds.get(problem.code, errors.OrchestratorError)
    if issubclass(kind, errors.FaultsError):
        return kind(problem.faults, hint=problem.hint)
    text = "\n".join([problem.message, *(f"  {fault}" for fault in problem.faults)])
    if problem.code == "bug":
        text += f" (request {problem.request_id})"
    return kind(text, hint=problem.hint)


def _cleaned(request: dict[str, Any]) -> dict[str, Any]:
    """Without parameters that say nothing."""
    if "params" in request:
        said = {name: value for name, value in request["params"].items() if value not in (None, (), [])}
        return {**request, "params": said}
    return request


def _part(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")
