"""One pass over one run: observe, decide, act, write once. It may die anywhere and run twice."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from orchestrator import contract
from orchestrator.backends import Backend, BackendAway, launch_name
from orchestrator.controller import decision
from orchestrator.controller.decision import LaunchView, RunView
from orchestrator.controller.facts import take_in_facts
from orchestrator.controller.glance import standing_of
from orchestrator.controller.heard import Heard
from orchestrator.controller.history import training_seconds
from orchestrator.controller.keep import keep_of
from orchestrator.controller.launching import Launching
from orchestrator.controller.of_run import run_store, spec_of
from orchestrator.controller.publish import publish
from orchestrator.controller.record import take_in_records
from orchestrator.controller.room import full_disk
from orchestrator.controller.stalls import silence_of
from orchestrator.db import Attempt, Database, Launch, Lease, LeaseLost, Run, RunMoved, Standing
from orchestrator.errors import BackendError, RegistryError, StorageError, with_hint
from orchestrator.reasons import Reason
from orchestrator.registries import RegistryAway
from orchestrator.runs import Intent, Keep, Observation, Phase, Status
from orchestrator.settings import Settings
from orchestrator.spec.stored import base_named

PUBLISH_AGAIN_SECONDS = 5.0
_TURNED_AWAY = (Reason.QUOTA, Reason.UNKNOWN)
_HELD_UP = (Reason.REGISTRY_AWAY, Reason.STORAGE_AWAY, Reason.TROUBLE)
_log = logging.getLogger(__name__)
_FOLLOWED = Observation(Phase.MISSING)  # what another launch has followed, nobody needs to ask about


@dataclass(frozen=True)
class Looked:
    """A run after a look, and what a glance needs where it goes on by itself: for `within` seconds at most,
    since its time is up then, or it has been silent for too long."""

    run: Run
    standing: Standing | None = None
    within: float = math.inf


@dataclass(frozen=True)
class Controller:
    """Drives runs; `clock` gives seconds since 1970. What takes long is given to `beside`, which may do it in
    another thread, once at a time for each key. `heard` is what launches report to this process."""

    settings: Settings
    database: Database
    backend: Backend
    clock: Callable[[], float]
    beside: Callable[[str, Callable[[], None]], object] = lambda _key, work: work()
    heard: Heard = field(default_factory=Heard)

    def under(self, lease: Lease) -> Controller:
        """The same controller, which can write nothing once its lease is lost."""
        return replace(self, database=self.database.under(lease))

    def explain(self, run_id: str, error: Exception) -> None:
        """Show on a run why nothing could be found out about it or done for it; its status stays. Where a
        user wants it to stop, what runs of it is told so all the same."""
        run = self.database.run(run_id)
        away = isinstance(error, OSError | StorageError | contract.ContractError)
        reason = Reason.STORAGE_AWAY if away else Reason.TROUBLE
        if run.status.final:
            return
        run = self.database.move(run, run.status, reason, f"{type(error).__name__}: {error}", self.clock())
        launches = self.database.launches(run.id)
        if run.intent is not Intent.RUN and launches:
            self.database.check_lease()
            self._stop(run, launches[-1].number, self.clock())

    def reconcile(self, run_id: str) -> Looked:
        """Bring a run one step nearer to its end."""
        return self.look_at(self.database.run(run_id))

    def look_at(self, run: Run) -> Looked:
        """The same, of a run as it was just read."""
        if run.status.final:
            return Looked(run)
        store = run_store(run)
        if run.status is Status.QUEUED:
            store.write("spec.yaml", run.spec_text.encode())
        views, attempts = self._observe(run, store)
        run, views = take_in_facts(self.database, run, views)
        silence = silence_of(self.database, self.settings, run.id, views, attempts, self.clock())
        view = self._run_view(run, attempts, silence.stall(run, self.clock()))
        self._note_checkpoint(run, views)
        actions = _in_order(run, decision.decide(view, views))
        for action in actions:
            try:
                run = self._act(run, action, store)
            except BackendAway as error:  # the launch is looked for next time, and made again if need be
                run = self.database.move(run, run.status, error.reason, with_hint(error), self.clock())
                break
            if run.status.final:
                break  # an act that could not be done has ended the run
        goes_on = all(isinstance(action, decision.Move) for action in actions)
        within = min(_time_left(view), silence.left(run, self.clock()))
        return Looked(run, standing_of(run, views, attempts) if goes_on else None, within)

    def _observe(self, run: Run, store: contract.Store) -> tuple[list[LaunchView], list[Attempt]]:
        """What backend and storage say of the launches. The order matters: what is seen to have ended has
        said all before, and an attempt whose outcome is there has written all of its record."""
        launches = self.database.launches(run.id)
        if not launches:
            return [], []
        newest = self.backend.observe(launch_name(run.id, launches[-1].number))
        last = {claim.launch: claim.attempt for claim in contract.attempts(store)}
        outcomes = {launch: contract.read_outcome(store, attempt) for launch, attempt in last.items()}
        attempts = take_in_records(self.database, run.id, store, self.clock(), self.settings.points_per_run)
        return [
            _view(
                launch,
                newest if launch is launches[-1] else _FOLLOWED,
                outcomes.get(launch.number),
                [attempt for attempt in attempts if attempt.launch == launch.number],
            )
            for launch in launches
        ], attempts

    def _note_checkpoint(self, run: Run, views: Sequence[LaunchView]) -> None:
        """Let the backend know of the newest checkpoint of what trains."""
        if not views or views[-1].step != "train" or not views[-1].observation.alive:
            return
        launch = launch_name(run.id, views[-1].number)
        newest = max(views, key=lambda view: view.progress)
        if newest.saved is not None:
            with contextlib.suppress(BackendError):  # it is told again at another look
                self.backend.note_checkpoint(launch, newest.progress, newest.saved)

    def _run_view(self, run: Run, attempts: Sequence[Attempt], stall: decision.Stall | None) -> RunView:
        spec = run.spec
        hours = spec["compute"].get("max_hours")
        return RunView(
            status=run.status,
            intent=run.intent,
            evaluate=spec.get("evaluate") is not None,
            published=self._is_published(run),
            training_seconds=training_seconds(attempts),
            max_seconds=hours * 3600 if hours is not None else None,
            keep=run.keep,
            full=full_disk(self.settings, run.storage),
            stall=stall,
        )

    def _is_published(self, run: Run) -> bool:
        """Whether every registry that the spec names has confirmed the adapter."""
        wanted = set(range(len(run.spec.get("publish") or ())))
        return not wanted - {done.target for done in (self.database.publications(run.id) if wanted else ())}

    def _act(self, run: Run, action: decision.Action, store: contract.Store) -> Run:
        now = self.clock()
        match action:
            case decision.Move(status, reason, message):
                return self.database.move(run, status, reason, message, now)
            case decision.Stop(number, stalled):
                if stalled:
                    self.database.mark_stalled(run.id, number, now)
                self.database.check_lease()
                if run.keep is Keep.NONE:
                    store.write(contract.DISCARD, b"")
                self._stop(run, number, now)
                return run
            case decision.Launch():
                return Launching(self.settings, self.database, self.backend).make(run, action, store, now)
            case decision.Publish():
                return self._publish(run, now)
            case decision.Cancel(keep):
                kept = keep_of(store, keep, _base_of(run), run.total_steps)
                return self.database.move(run, Status.CANCELLED, Reason.BY_USER, kept, now)

    def _stop(self, run: Run, number: int, now: float) -> None:
        with contextlib.suppress(BackendAway):  # it is told again at the next pass
            self.backend.stop(launch_name(run.id, number), now)

    def _publish(self, run: Run, now: float) -> Run:
        """Publish now, or a little later where that could not be done just before."""
        if run.reason in _HELD_UP and 0 <= now - run.updated < PUBLISH_AGAIN_SECONDS:
            return run
        run = self.database.move(run, Status.PUBLISHING, run.reason, run.message, now)
        self.beside(run.id, lambda: self._push(run.id))
        return self.database.run(run.id)

    def _push(self, run_id: str) -> None:
        """Push to each registry; a run that is cancelled meanwhile stays so. What goes wrong is shown here,
        since this may be a thread of its own."""
        run = self.database.run(run_id)
        with contextlib.suppress(RunMoved):
            try:
                publish(self.settings, self.database, run, run_store(run), self.clock())
            except RegistryAway as error:
                now = self.clock()
                run = self.database.move(run, run.status, Reason.REGISTRY_AWAY, with_hint(error), now)
                self.database.update(run, updated=now)
            except RegistryError as error:
                refused = Reason.REGISTRY_REFUSED
                self.database.move(run, Status.FAILED, refused, with_hint(error), self.clock())
            except (LeaseLost, RunMoved):
                raise
            except Exception as error:
                _log.exception("%s could not be published; it is tried again", run_id)
                self.explain(run_id, error)
                self.database.update(run, updated=self.clock())
            else:
                self.database.move(run, Status.SUCCEEDED, None, "", self.clock())


def _base_of(run: Run) -> str | None:
    """What its adapter calls its base model; None before that was found."""
    digest = run.facts.get("model")
    return digest and base_named(spec_of(run).model, run.facts.get("model_revision"), digest)


def _time_left(view: RunView) -> float:
    """Seconds of training until the run's time is up."""
    return math.inf if view.max_seconds is None else max(0.0, view.max_seconds - view.training_seconds)


def _in_order(run: Run, actions: Sequence[decision.Action]) -> Sequence[decision.Action]:
    """A run that was turned away shows why until its launch is made, and nothing else in between."""
    launches = [action for action in actions if isinstance(action, decision.Launch)]
    if run.reason not in _TURNED_AWAY or not launches:
        return actions
    return [*launches, *(action for action in actions if action not in launches)]


def _view(
    launch: Launch, observation: Observation, outcome: contract.Outcome | None, attempts: Sequence[Attempt]
) -> LaunchView:
    """A launch with what its own attempts have said."""
    furthest = max(attempts, key=lambda attempt: attempt.checkpoint, default=None)
    interrupted = outcome is not None and outcome.result is contract.Result.INTERRUPTED
    return LaunchView(
        number=launch.number,
        step=launch.step,
        observation=observation,
        outcome=outcome,
        attempts=len(attempts),
        started=bool(attempts) and attempts[-1].started is not None and not interrupted,
        progress=furthest.checkpoint if furthest else 0,
        saved=furthest.checkpoint_time if furthest else None,
        micro_batch_size=launch.micro_batch_size,
        stalled=launch.stalled is not None,
    )
