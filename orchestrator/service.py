"""What a user can ask for: the verbs that the command line (and later the API) calls."""

from __future__ import annotations

import contextlib
import difflib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from orchestrator import contract
from orchestrator.backends.local import LocalBackend
from orchestrator.controller.history import AttemptHistory, attempt_history
from orchestrator.controller.publish import publish, verify
from orchestrator.controller.pull import Pulled, pull_run, pull_version
from orchestrator.controller.reconcile import Controller, run_store
from orchestrator.controller.track import Tracking
from orchestrator.db import Database, Publication, Run, open_database
from orchestrator.errors import ConflictError, Fault, NotFoundError, SettingsError, SpecError
from orchestrator.locks import try_lock
from orchestrator.runs import Intent, Phase, Reason, Status
from orchestrator.settings import Settings
from orchestrator.spec.load import Loaded, with_places

if TYPE_CHECKING:
    from orchestrator.steps.prepare import Inspection

PASS_SECONDS = 0.5
SETTLE_SECONDS = 30.0
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


@dataclass(frozen=True)
class LogText:
    """What one attempt printed; `attempt` is None for a launch that never began one."""

    launch: int
    attempt: int | None
    data: bytes


class Service:
    """The verbs, over one database and one backend of this machine."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.settings = settings
        self.clock = clock
        self.database: Database = open_database(f"sqlite:///{settings.home / 'axo.db'}")
        self.tracking = Tracking(settings, self.database)
        self.backend = LocalBackend(settings)
        self._controller = Controller(settings, self.database, self.backend, self.tracking, clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.database.close()

    def submit(self, loaded: Loaded, *, new: bool = False) -> tuple[Run, bool]:
        """A run of this spec: the unfinished one there is (True), or a fresh one (False)."""
        with self._alone(f"submit-{loaded.digest[:16]}"):
            return self._submit(loaded, new=new)

    def _submit(self, loaded: Loaded, *, new: bool) -> tuple[Run, bool]:
        base = str(loaded.path.parent.absolute())
        if not new and (unfinished := self.database.unfinished(loaded.digest, base)):
            return self._resumed(unfinished), True
        self._tell_missed()
        check_machine(loaded, self.settings)
        check_config(loaded, self.settings)
        loaded = with_earlier_adapter(loaded, self.settings)
        check_registries(loaded, self.settings)
        check_trainer(self.settings)
        now = self.clock()
        run = Run(
            id=f"{loaded.spec.name}-{''.join(secrets.choice(_LETTERS) for _ in range(5))}",
            name=loaded.spec.name,
            spec_digest=loaded.digest,
            spec=loaded.spec.model_dump(mode="json"),
            spec_text=loaded.text,
            base=base,
            storage=self.settings.storage,
            status=Status.QUEUED,
            created=now,
            updated=now,
        )
        run_store(run).write("spec.yaml", loaded.text.encode())
        self.database.add_run(run)
        return self.tracking.ensure(run, now), False

    def drive(
        self, run_id: str, watch: Callable[[Run], None], sleep: Callable[[float], None] = time.sleep
    ) -> Run:
        """Reconcile a run until it has ended and MLflow knows; only watch while another process does.

        A server that stays away for long after the end is given up on; the next run that is
        submitted from this home tells it the rest.
        """
        patience: float | None = None
        while True:
            with self._held(run_id) as held:
                run = self._controller.reconcile(run_id) if held else self.database.run(run_id)
            watch(run)
            rests = run.status is Status.PAUSED and run.intent is Intent.PAUSE
            if rests or (run.status.final and not self.tracking.behind(run)):
                return run
            if run.status.final:
                patience = patience or self.clock() + SETTLE_SECONDS
                if self.clock() > patience:
                    return run
            sleep(PASS_SECONDS)

    def ask(self, name: str, intent: Intent) -> Run:
        """Record what the user wants of a run; whoever drives it acts on it."""
        run = self.database.run(name)
        if run.status.final:
            raise ConflictError(f"{run.id} has ended: {run.status}", hint=f"`axo get {run.id}` shows it")
        self.database.set_intent(run.id, intent, self.clock())
        return self.database.run(run.id)

    def resume(self, name: str) -> Run:
        """Want a run to go on again; whoever drives it makes its next launch.

        Raises:
            ConflictError: it has ended, or is being cancelled.
        """
        if (run := self.database.run(name)).intent is Intent.CANCEL and not run.status.final:
            raise ConflictError(f"{run.id} is being cancelled", hint=f"`axo clone {run.id}` makes another")
        return self.ask(run.id, Intent.RUN)

    def publish(self, name: str) -> list[Publication]:
        """Push the adapter of a run to the registries that lack it, now.

        Raises:
            ConflictError: the run has no finished adapter, or another process is publishing it.
            RegistryError: a registry is away or refuses.
        """
        run = self.database.run(name)
        unfinished = not run.status.final and run.status is not Status.PUBLISHING
        if unfinished or contract.read_manifest(run_store(run), contract.ADAPTER) is None:
            raise ConflictError(f"{run.id} has no finished adapter: it is {run.status}")
        with self._held(run.id) as held:
            if not held:
                raise ConflictError(f"another process drives {run.id} and publishes it")
            now = self.clock()
            publish(self.settings, self.database, self.tracking.ensure(run, now), run_store(run), now)
            self._succeeded(self.database.run(run.id), now)
        return self.database.publications(run.id)

    def pull(self, name: str, folder: Path) -> Pulled:
        """Copy a finished adapter into a new folder, verified: that of a run, or a version in MLflow.

        Raises:
            ConflictError: the folder holds something already, or the run has no finished adapter.
            RegistryError: a registry is away or refuses, or what it holds is not what was published.
        """
        if name.startswith("models:/"):
            return pull_version(self.settings, name, folder)
        return pull_run(self.database, self.database.run(name), folder)

    def verify(self, name: str) -> Mapping[str, list[str]]:
        """Re-read what was published of a run; what is untrue, by reference (empty lists: all is true)."""
        run = self.database.run(name)
        publications = self.database.publications(run.id)
        if not publications:
            raise NotFoundError(f"nothing of {run.id} is published", hint=f"`axo publish {run.id}`")
        found = {"adapter in storage": contract.verify_folder(run_store(run), contract.ADAPTER)}
        for publication in publications:
            found[publication.reference] = verify(self.settings, run, publication)
        return found

    def logs(self, name: str) -> Iterator[LogText]:
        """What a run's attempts printed, oldest first, and its launches that died before an attempt."""
        run = self.database.run(name)
        store = run_store(run)
        claims = contract.attempts(store)
        claimed = {claim.launch for claim in claims}
        for launch in self.database.launches(run.id):
            own = [claim.attempt for claim in claims if claim.launch == launch.number]
            for number in own:
                yield LogText(launch.number, number, contract.read_stream(store, number, "log"))
            if launch.number not in claimed and (text := self._last_words(f"{run.id}-{launch.number}")):
                yield LogText(launch.number, None, text.encode())

    def attempts(self, name: str) -> list[AttemptHistory]:
        """The attempts of a run: from where to where each went, how it ended, what it lost."""
        run = self.database.run(name)
        return attempt_history(self.database, run.id, run_store(run))

    def _last_words(self, launch: str) -> str:
        """What a launch printed that has ended."""
        return self.backend.logs(launch) if self.backend.observe(launch).phase is Phase.ENDED else ""

    def _succeeded(self, run: Run, now: float) -> None:
        """A run that only its registries held back has reached its end."""
        if run.status is Status.PUBLISHING or run.reason is Reason.REGISTRY_REFUSED:
            run = self.database.move(run, Status.SUCCEEDED, None, "", now)
            self.tracking.catch_up(run, now)

    def _tell_missed(self) -> None:
        """Tell MLflow what it missed of runs that ended while it was away, if it is back."""
        for run in self.database.runs():
            if self.tracking.behind(run):
                self.tracking.catch_up(run, self.clock())

    def _resumed(self, run: Run) -> Run:
        if run.intent is Intent.PAUSE:
            self.database.set_intent(run.id, Intent.RUN, self.clock())
        return self.database.run(run.id)

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        """Wait until no other process is inside the same name."""
        while True:
            with self._held(name) as held:
                if held:
                    yield
                    return
            time.sleep(0.05)

    @contextlib.contextmanager
    def _held(self, name: str) -> Iterator[bool]:
        """Whether this process may act on what has this name now: one at a time, freed when it dies."""
        folder = self.settings.home / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with try_lock(folder / f"{name}.lock") as lock:
            yield lock is not None


def inspect(loaded: Loaded, settings: Settings, *, strict: bool = False) -> Inspection:
    """What the data of a spec comes to; data that storage or this home has seen before is not read again."""
    from orchestrator.steps import prepare

    storage = contract.open_store(settings.storage)
    cache = contract.FileStore(settings.home / "cache")
    return prepare.inspect(
        loaded.spec,
        loaded.path.parent,
        settings.slow_templates,
        strict=strict,
        storage=storage,
        cache=cache,
    )


def check_machine(loaded: Loaded, settings: Settings) -> None:
    """Refuse a machine that the catalogue does not have.

    Raises:
        SpecError: with the machines there are.
    """
    machine = loaded.spec.compute.machine
    if machine not in settings.machines:
        raise SpecError(with_places(loaded, [_unknown_machine(machine, list(settings.machines))]))


def check_config(loaded: Loaded, settings: Settings) -> None:
    """Refuse what the machine or Axolotl could not do, and keys under `axolotl` that may not stand there.

    Raises:
        SpecError: with each of them, why, and what to write instead.
    """
    from orchestrator.axolotl.render import faults_on

    if faults := faults_on(loaded.spec, settings.machines[loaded.spec.compute.machine]):
        raise SpecError(with_places(loaded, faults))


def with_earlier_adapter(loaded: Loaded, settings: Settings) -> Loaded:
    """The spec with the settings of the adapter that it goes on from, if it names one.

    Raises:
        SpecError: there is no such adapter, or the spec contradicts it.
    """
    from orchestrator.adapters import continued, find_adapter

    reference = loaded.spec.adapter.continue_from
    if reference is None:
        return loaded
    try:
        earlier = find_adapter(reference, loaded.path.parent, contract.open_store(settings.storage))
        return replace(loaded, spec=continued(loaded.spec, earlier))
    except SpecError as error:
        raise SpecError(with_places(loaded, error.faults)) from error


def check_registries(loaded: Loaded, settings: Settings) -> None:
    """Refuse to start what could not be published in the end.

    Raises:
        SpecError: the spec publishes to MLflow, and no server is configured.
    """
    if loaded.spec.publish and not settings.mlflow_uri:
        fault = Fault(
            "it publishes to MLflow, but no MLflow server is configured",
            fix="set AXO_MLFLOW_URI, such as http://localhost:5000, or remove `publish`",
            path="publish",
        )
        raise SpecError(with_places(loaded, [fault]))


def check_trainer(settings: Settings) -> None:
    """Raises SettingsError where the trainer's environment is not to be found."""
    if not settings.trainer_python.exists():
        raise SettingsError(
            f"there is no trainer environment: {settings.trainer_python} does not exist",
            hint="make it with `scripts/setup trainer`, or point AXO_TRAINER_PYTHON at one that has Axolotl",
        )


def _unknown_machine(name: str, known: list[str]) -> Fault:
    close = difflib.get_close_matches(name, known, 1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return Fault(
        "there is no machine of that name",
        fix=f"{meant}machines here: {', '.join(known)}",
        path="compute.machine",
        value=repr(name),
    )
