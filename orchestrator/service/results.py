"""The verbs about what a run made: publish it again, prove what was published."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial

from orchestrator import contract, wire
from orchestrator.controller.of_run import run_store, spec_of
from orchestrator.controller.package import TEXTS, package_texts
from orchestrator.controller.publish import verify
from orchestrator.db import Database, Run
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.reasons import Reason
from orchestrator.runs import Status
from orchestrator.service import told
from orchestrator.service.caller import Caller, Role
from orchestrator.settings import Settings


@dataclass(frozen=True)
class AdapterContent:
    """A file of an adapter: its SHA-256 in hex, its size, and what gives its bytes between two places."""

    sha256: str
    size: int
    read: Callable[[int, int], Iterator[bytes]]


@dataclass(frozen=True)
class Results:
    """Verbs about finished adapters."""

    settings: Settings
    database: Database
    clock: Callable[[], float]
    news: threading.Event

    def publish(self, caller: Caller, name: str) -> wire.Run:
        """Have the adapter pushed, now, to the registries that lack it or hold something else by now.

        Raises:
            ConflictError: the run has no finished adapter, or none that is whole.
            RegistryError: what was published cannot be read back.
        """
        caller.need(Role.SUBMITTER)
        run, now = self.database.find_run(name, caller.project), self.clock()
        database = self.database.by(caller.change("run.publish", run.id, now))
        if run.status is Status.SUCCEEDED:
            run = self._publish_anew(run, database, now)
        elif contract.read_manifest(run_store(run), contract.ADAPTER) is None or not _held_back(run):
            raise ConflictError(f"{run.id} has no finished adapter: it is {run.status}")
        else:
            run = database.move(run, Status.PUBLISHING, None, "", now, look=True)
        self.news.set()
        return told.run(run, self.settings)

    def verify(self, caller: Caller, name: str) -> dict[str, list[str]]:
        """Re-read what was published; what is untrue of it, by reference (empty lists: all is true).

        Raises:
            NotFoundError: nothing of the run is published.
        """
        run = self.database.find_run(name, caller.project)
        publications = self.database.publications(run.id)
        if not publications:
            raise NotFoundError(f"nothing of {run.id} is published", hint=_how_to_publish(run))
        found = {}
        if run.expired is None:
            found[wire.IN_STORAGE] = contract.verify_folder(run_store(run), contract.ADAPTER)
        for publication in publications:
            found[publication.reference] = verify(self.settings, run, publication)
        return found

    def adapter(self, caller: Caller, name: str) -> wire.Adapter:
        """The files of a finished adapter.

        Raises:
            ConflictError: the run has none.
        """
        run, manifest = self._finished(caller, name)
        texts = self._texts(run).items()
        return wire.Adapter(
            run=run.id,
            digest=manifest.digest,
            files=[
                *(wire.AdapterFile(**asdict(file)) for file in manifest.files),
                *(wire.AdapterFile(path=path, size=len(text), sha256=_sha256(text)) for path, text in texts),
            ],
        )

    def adapter_file(self, caller: Caller, name: str, path: str) -> AdapterContent:
        """The content of one of those files. It is read as storage is, which follows no link that code of a
        model put there.

        Raises:
            ConflictError: the run has no finished adapter, or the file is not in storage any more.
            NotFoundError: there is no such file in it.
        """
        run, manifest = self._finished(caller, name)
        if path in TEXTS:
            text = self._texts(run)[path]
            return AdapterContent(_sha256(text), len(text), lambda start, end: iter([text[start:end]]))
        file = next((file for file in manifest.files if file.path == path), None)
        if file is None:
            raise NotFoundError(f"the adapter of {run.id} has no file {path!r}")
        read = partial(run_store(run).blocks, f"{contract.ADAPTER}/{path}")
        try:
            next(read(0, 1), None)
        except (FileNotFoundError, contract.ContractError) as error:
            raise ConflictError(
                f"the adapter of {run.id} is not whole: {path} is gone", hint=f"`axo verify {run.id}`"
            ) from error
        return AdapterContent(file.sha256, file.size, read)

    def _publish_anew(self, run: Run, database: Database, now: float) -> Run:
        """Publish once more what registries do not hold as it was published; nothing where all is true."""
        there = {each.target: each for each in self.database.publications(run.id)}
        lacking = [at for at in range(len(spec_of(run).publish)) if at not in there]
        untrue = [at for at, each in there.items() if verify(self.settings, run, each)]
        if not lacking + untrue:
            return run
        if faults := contract.verify_folder(run_store(run), contract.ADAPTER):
            raise ConflictError(
                f"the adapter of {run.id} cannot be published again: in storage {faults[0]}",
                hint=f"`axo verify {run.id}` tells where it is true; `axo clone {run.id}` trains it again",
            )
        names = ", ".join(there[at].reference for at in untrue)
        words = f"{names}: not what was published any more, so it is published anew" if names else ""
        return database.publish_anew(run, untrue, words, now)

    def _finished(self, caller: Caller, name: str) -> tuple[Run, contract.Manifest]:
        run = self.database.find_run(name, caller.project)
        manifest = contract.read_manifest(run_store(run), contract.ADAPTER)
        if run.expired is not None:
            raise ConflictError(
                f"{run.id} was temporary: its files are removed", hint=f"`axo clone {run.id}`"
            )
        if manifest is None:
            raise ConflictError(
                f"{run.id} has no finished adapter: it is {run.status}", hint=f"`axo describe {run.id}`"
            )
        return run, manifest

    def _texts(self, run: Run) -> dict[str, bytes]:
        return package_texts(run, spec_of(run), run_store(run), self.database)


def _sha256(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _how_to_publish(run: Run) -> str | None:
    """What brings something of it into a registry, where that can be."""
    if not run.spec.get("publish"):
        return "its spec names no registry"
    return f"`axo publish {run.id}`" if run.status is Status.SUCCEEDED or _held_back(run) else None


def _held_back(run: Run) -> bool:
    """Whether only its registries keep a run from its end."""
    return run.status is Status.PUBLISHING or run.reason is Reason.REGISTRY_REFUSED
