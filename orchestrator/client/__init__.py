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
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

import httpx

from orchestrator import wire
from orchestrator.client.connection import Connection, OpenStream
from orchestrator.client.credential import TokenCommand
from orchestrator.client.download import Told, fetch_file
from orchestrator.client.patience import FOLLOW_SECONDS, Patience, Wait
from orchestrator.client.streams import Change, changes, log_parts
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.runs import Keep, Status

PLAN_SECONDS = 600.0  # the service reads the data
FINISH_SECONDS = 600.0  # the service reads the whole file again
PROOF_SECONDS = 1800.0  # it fetches all that was published
_MOST_EVENTS = 1000  # in one answer


class Client:
    """The service at a URL, for the holder of a key, or of a token that may open several projects, of which
    `project` is meant, or of a command that prints one; `transport` is another way there.

    `embedded` says that the service is part of this very process: it drives runs only while this lives.
    Its launches see of this machine's files `all`, those of a spec's own `folder`, or `none`.
    `told` hears why the service is waited for, before every pause, and None once it answers again.
    """

    def __init__(
        self,
        url: str,
        key: str | TokenCommand | None = None,
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
        auth = key if isinstance(key, TokenCommand) else None
        headers = {"Authorization": f"Bearer {key}"} if key and auth is None else {}
        if project:
            headers["Axo-Project"] = project
        self.patience = Patience(sleep, told)
        self.connection = Connection(self.url, headers, self.patience, transport, auth)
        self._read = self.connection.read

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.connection.close()

    def submit(self, asked: wire.Submission, key: str | None = None) -> wire.RunDetail:
        """Submit a spec; the same idempotency key gives the same run."""
        return self._read(wire.RunDetail, "POST", "/runs", body=asked, headers=_once(key))

    def clone(self, name: str, asked: wire.CloneAsked, key: str | None = None) -> wire.RunDetail:
        """Submit a run's spec and files once more, with some fields changed."""
        return self._read(wire.RunDetail, "POST", _run(name, "clone"), body=asked, headers=_once(key))

    def plan(self, asked: wire.Submission, against: str | None = None) -> wire.Plan:
        """What a run of the submission would be, and what differs from the run `against`; nothing of it is
        made."""
        params = {"against": against}
        return self._read(wire.Plan, "POST", "/plans", body=asked, params=params, seconds=PLAN_SECONDS)

    def runs(
        self, *, status: Iterable[Status] = (), name: str | None = None, limit: int = 50
    ) -> Iterator[wire.Run]:
        """Runs, newest first, `limit` at most."""
        asked = {"status": [each.value for each in status], "name": name}
        for page in self.connection.pages(wire.RunPage, "/runs", limit, asked):
            yield from page.items

    def run(self, name: str) -> wire.RunDetail:
        """The run of that id, else the newest of that name."""
        return self._read(wire.RunDetail, "GET", _run(name))

    def delete_run(self, run: str) -> wire.Deleted:
        """Delete the run of that very id, which has ended; it may be said twice."""
        return self._read(wire.Deleted, "DELETE", _run(run))

    def pin(self, name: str) -> wire.Run:
        """Keep a run and its files, also a temporary one, until it is unpinned."""
        return self._read(wire.Run, "POST", _run(name, "pin"))

    def unpin(self, name: str) -> wire.Run:
        """Let a run go its way again."""
        return self._read(wire.Run, "POST", _run(name, "unpin"))

    def cancel(self, name: str, keep: Keep = Keep.LAST) -> wire.Run:
        """Stop a run for good; `keep` says which checkpoint becomes its adapter."""
        path, params, wait = _run(name, "cancel"), {"keep": keep.value}, Wait(self.patience)
        try:
            return self._read(wire.Run, "POST", path, params=params, wait=wait)
        except ConflictError:
            run = self.run(name) if wait.lost else None
            if run is None or run.status is not Status.CANCELLED:
                raise
            return run

    def pause(self, name: str) -> wire.Run:
        """Stop a run for now."""
        return self._read(wire.Run, "POST", _run(name, "pause"))

    def resume(self, name: str) -> wire.Run:
        """Go on with a paused run."""
        return self._read(wire.Run, "POST", _run(name, "resume"))

    def publish(self, name: str) -> wire.Run:
        """Push a finished adapter to the registries that lack it, now."""
        return self._read(wire.Run, "POST", _run(name, "publish"), seconds=PROOF_SECONDS)

    def verify(self, name: str) -> dict[str, list[str]]:
        """Re-read what was published of a run: what is untrue of it, by reference."""
        return self._read(dict[str, list[str]], "GET", _run(name, "verify"), seconds=PROOF_SECONDS)

    def attempts(self, name: str) -> list[wire.Attempt]:
        """The attempts of a run, oldest first."""
        return self._read(list[wire.Attempt], "GET", _run(name, "attempts"))

    def events(self, name: str, after: int = 0) -> list[wire.Event]:
        """What happened to a run after the event of that id, oldest first."""
        found: list[wire.Event] = []
        while True:
            params = {"after": found[-1].id if found else after, "limit": _MOST_EVENTS}
            page = self._read(list[wire.Event], "GET", _run(name, "events"), params=params)
            found += page
            if len(page) < _MOST_EVENTS:
                return found

    def metrics(
        self, name: str, *keys: str, points: int = 1000, first: int = 0, last: int | None = None
    ) -> dict[str, list[wire.Point]]:
        """The points of metrics by their keys at steps `first` to `last`, thinned out to `points` each and to
        `wire.MAX_POINTS` together; all metrics without keys."""
        params = {"key": keys, "points": points, "first": first, "last": last}
        found = self._read(list[wire.Series], "GET", _run(name, "metrics"), params=params)
        return {series.key: series.points for series in found}

    def config(self, name: str) -> str:
        """The Axolotl config of the run's newest launch that has one."""
        return self.connection.ask("GET", _run(name, "config")).text

    def logs(self, name: str, seen: Mapping[str, int] | None = None) -> Iterator[wire.LogPart]:
        """What a run's attempts printed beyond the bytes in `seen`, by the name of each text."""
        wait = Wait(self.patience)
        return log_parts(self._stream(name, "logs"), seen or {}, lambda: True, wait)

    def create_key(self, name: str, role: wire.RoleName, days: int = 365) -> wire.FreshKey:
        """Make an API key of the project; its text is told this once."""
        asked = wire.KeyAsked(name=name, role=role, days=days)
        return self._read(wire.FreshKey, "POST", "/keys", body=asked, again=False)

    def keys(self) -> list[wire.Key]:
        """The project's API keys, newest first."""
        return self._read(list[wire.Key], "GET", "/keys")

    def revoke_key(self, key: str) -> wire.Key:
        """Revoke the API key of that id."""
        return self._read(wire.Key, "DELETE", f"/keys/{_part(key)}")

    def begin_file(self, sha256: str, size: int) -> wire.File:
        """Announce a file; what of it the service has not yet."""
        return self._read(wire.File, "POST", "/files", body=wire.FileAsked(sha256=sha256, size=size))

    def files(self, limit: int = 100) -> list[wire.File]:
        """The files of the project, those announced last first."""
        return self._read(list[wire.File], "GET", "/files", params={"limit": limit})

    def file(self, sha256: str) -> wire.File:
        """What of a file is there."""
        return self._read(wire.File, "GET", f"/files/{_part(sha256)}")

    def delete_file(self, sha256: str) -> None:
        """Delete a file. Raises ConflictError where a run has yet to read it."""
        self._delete(f"/files/{_part(sha256)}")

    def put_part(self, sha256: str, part: int, data: bytes) -> None:
        """Send a part of a file; it may be sent again."""
        self.connection.ask("PUT", f"/files/{_part(sha256)}/parts/{part}", body=data)

    def finish_file(self, sha256: str) -> wire.File:
        """Have a file proven by its digest."""
        return self._read(wire.File, "POST", f"/files/{_part(sha256)}/finish", seconds=FINISH_SECONDS)

    def mappings(self, limit: int = 100) -> Iterator[wire.MappingListed]:
        """The mappings that specs may name, by their names, `limit` at most."""
        for page in self.connection.pages(wire.MappingPage, "/mappings", limit, {}):
            yield from page.items

    def mapping(self, name: str) -> wire.NamedMapping:
        """The mapping of that name."""
        return self._read(wire.NamedMapping, "GET", f"/mappings/{_part(name)}")

    def put_mapping(self, name: str, text: str) -> wire.MappingListed:
        """Keep a mapping under a name, in the place of the one that has it."""
        asked = wire.MappingAsked(text=text)
        return self._read(wire.MappingListed, "PUT", f"/mappings/{_part(name)}", body=asked)

    def delete_mapping(self, name: str) -> None:
        """Delete a mapping; runs keep the text that they were submitted with."""
        self._delete(f"/mappings/{_part(name)}")

    def machines(self) -> list[wire.Machine]:
        """The machines that a spec may name."""
        return self._read(list[wire.Machine], "GET", "/machines")

    def registries(self) -> list[wire.Registry]:
        """Where adapters may be published to."""
        return self._read(list[wire.Registry], "GET", "/registries")

    def datasets(self, limit: int = 100) -> list[wire.Dataset]:
        """The prepared datasets that the project holds, the last used first."""
        return self._read(list[wire.Dataset], "GET", "/datasets", params={"limit": limit})

    def dataset(self, digest: str) -> wire.Dataset:
        """The dataset of that digest."""
        return self._read(wire.Dataset, "GET", f"/datasets/{_part(digest)}")

    def delete_dataset(self, digest: str) -> None:
        """Delete a dataset; one that a run uses which has not ended is refused."""
        self._delete(f"/datasets/{_part(digest)}")

    def models(self, limit: int = 100) -> list[wire.Model]:
        """The published versions, newest first."""
        return self._read(list[wire.Model], "GET", "/models", params={"limit": limit})

    def adapter(self, name: str) -> wire.Adapter:
        """The files of a run's finished adapter."""
        return self._read(wire.Adapter, "GET", _run(name, "adapter"))

    def fetch_adapter(self, adapter: wire.Adapter, folder: Path, told: Told = lambda _: None) -> None:
        """Write the files of an adapter into a folder, each checked; `told` hears of bytes as they come."""
        for file in adapter.files:
            stream = self._stream(adapter.run, f"adapter/{quote(file.path)}")
            fetch_file(stream, file, folder / file.path, told, Wait(self.patience, FOLLOW_SECONDS))

    def follow(self, name: str, after: int = 0, heartbeat: float = 15.0) -> Generator[Change]:
        """What happens to a run: its events after that id, once each, the run whenever it changed, and
        None at least every `heartbeat` seconds; it ends with the run. A cut is mended by itself, and a
        service that goes away is waited for, with a None before every pause."""
        stream, wait = self._stream(name, "events/stream"), Wait(self.patience, FOLLOW_SECONDS)
        return changes(stream, after, heartbeat, wait)

    def follow_logs(self, name: str, seen: Mapping[str, int] | None = None) -> Iterator[wire.LogPart]:
        """The parts of a run's logs beyond `seen`, as they are written, until the run has ended."""

        def ended() -> bool:
            return self.run(name).status.final

        wait = Wait(self.patience, FOLLOW_SECONDS)
        return log_parts(self._stream(name, "logs/stream"), seen or {}, ended, wait)

    def _delete(self, path: str) -> None:
        """Delete what can be deleted once: where an answer was lost, it is gone because it was deleted."""
        wait = Wait(self.patience)
        try:
            self.connection.ask("DELETE", path, wait=wait)
        except NotFoundError:
            if not wait.lost:
                raise

    def _stream(self, name: str, what: str) -> OpenStream:
        """What opens a stream of a run, each time with headers and parameters of its own."""
        return partial(self.connection.streamed, _run(name, what))


def _once(key: str | None) -> dict[str, str]:
    """The header that makes a submission, said twice, one run."""
    return {"Idempotency-Key": key or secrets.token_hex(16)}


def _run(name: str, what: str = "") -> str:
    """The path of a run, or of something of it."""
    return f"/runs/{_part(name)}/{what}".rstrip("/")


def _part(name: str) -> str:
    """A name as one part of a path."""
    return quote(name, safe="")
