"""What a service is asked for before it dies, each flow by its name; every life goes through all of it again,
as a client does that had no answer."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator import contract, uploads, wire
from orchestrator.controller import due, removals, retention, room, sweep
from orchestrator.controller.of_run import run_store
from orchestrator.db import Run
from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.host import Host
from orchestrator.runs import Intent, Keep, Status
from orchestrator.service import LOCAL, Access, Reporter

MAPPING = """\
messages:
  - {role: user, content: "{{ text }}"}
  - {role: assistant, content: "{{ queue }}"}
"""
SPEC = """\
name: triage
base_model: org/base@0123abc
dataset: {source: tickets.jsonl}
training: {batch_size: 4}
"""
INLINE = "mapping:\n  messages:\n" + MAPPING.partition("\n")[2].replace("  -", "    -")
ROWS = b'{"text": "It is late", "queue": "delivery"}\n'
SHA256 = hashlib.sha256(ROWS).hexdigest()
ABANDONED = "a" * 64
DATASET = "d" * 64  # that every run of the stand-in prepares
SECONDS = 60


@dataclass(frozen=True)
class Life:
    """A service, and the folder that everything of its flow lies in."""

    host: Host
    home: Path

    def submitted(self, asked: wire.Submission, key: str = "the key") -> str:
        """The run that the key gets, or had got before it was deleted."""
        try:
            return self.answered(self.host.service.runs.submit(LOCAL, asked, key).id, key)
        except ConflictError as error:
            run = str(error).split(",")[0]
            if self.host.service.database.deleted_run(run) is None:
                raise
            return self.answered(run, key)

    def answered(self, run: str, key: str) -> str:
        with (self.home / "answers").open("a") as answers:
            answers.write(f"{key}: {run}\n")
        return run

    def wait(self, run: str, until: Callable[[Run], bool]) -> Run:
        for _ in _moments(f"{run} to come so far"):
            if until(found := self.host.service.database.run(run)):
                return found
        raise AssertionError

    def want(self, run: str, intent: Intent, keep: Keep = Keep.LAST) -> None:
        with contextlib.suppress(ConflictError):  # it was wanted before
            self.host.service.runs.want(LOCAL, run, intent, keep)

    def wait_for_removals(self) -> None:
        for _ in _moments("what is to go to be gone"):
            if not self.host.service.database.removals():
                return


def _moments(what: str) -> Iterator[None]:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        yield
        time.sleep(0.01)
    raise TimeoutError(f"{SECONDS} s were not enough for {what}")


def over(run: Run) -> bool:
    return run.status.final and run.tracked == run.status


def going(run: Run) -> bool:
    return run.status is Status.TRAINING or run.status.final


def _nothing(_life: Life) -> None:
    """Nothing is needed before it is submitted."""


def _alone(_life: Life, _run: str) -> None:
    """It is left alone."""


def _cancel(life: Life, run: str) -> None:
    life.wait(run, going)
    life.want(run, Intent.CANCEL)


def _discard(life: Life, run: str) -> None:
    life.wait(run, going)
    life.want(run, Intent.CANCEL, Keep.NONE)


def _pause(life: Life, run: str) -> None:
    """Paused, and let go on."""
    life.wait(run, lambda found: going(found) or found.status is Status.PAUSED)
    if (life.home / "hold").exists():
        life.want(run, Intent.PAUSE)
        life.wait(run, lambda found: found.status is Status.PAUSED)
        (life.home / "hold").unlink()
    life.want(run, Intent.RUN)


def _report(life: Life, run: str) -> None:
    """Its record is reported while it is read, twice."""
    service = life.host.service
    found = life.wait(run, going)
    record = contract.read_stream(run_store(found), 2, "metrics")
    for _ in range(2):
        service.reports.take_in(Reporter(run, 2), run, 2, 2, 0, record)
    (life.home / "hold").unlink(missing_ok=True)


def _refused(life: Life, run: str) -> None:
    """The registry refuses it, and MLflow once to hear of it; then its publishing is asked for again, once
    more when there is nothing left to do, and when what was published is so no longer."""
    life.wait(run, lambda found: found.status.final)
    (life.home / "refuse").unlink(missing_ok=True)
    for tampered in (False, False, True):
        if tampered:
            (life.home / "tampered").touch()
        life.host.service.results.publish(LOCAL, run)
        life.wait(run, lambda found: found.status is Status.SUCCEEDED)


def _delete(life: Life, run: str) -> None:
    """Deleted once it is over; by whom it was cut off, somebody else finishes it."""
    if life.host.service.database.deleted_run(run) is None:
        life.wait(run, over)
        life.host.service.keeping.delete(LOCAL, run)
    for _ in _moments("its launches to be let go"):
        if not life.host.loop.controller.backend.launches():
            break
    life.wait_for_removals()


def _retain(life: Life, run: str) -> None:
    """A temporary run that a pin keeps, until it is taken out."""
    keeping = life.host.service.keeping
    with contextlib.suppress(ConflictError):  # its files are gone already
        keeping.pin(LOCAL, run, pinned=True)
        life.wait(run, over)
        keeping.pin(LOCAL, run, pinned=False)
    life.wait(run, lambda found: found.expired is not None)
    life.wait_for_removals()


def _forget(life: Life, run: str) -> None:
    """The dataset that it was trained on is deleted."""
    life.wait(run, over)
    with contextlib.suppress(NotFoundError):
        life.host.service.datasets.delete(LOCAL, DATASET)
    life.wait_for_removals()


def _clone(life: Life, run: str) -> None:
    """The same once more under another name, while the first one is still on its way."""
    asked = wire.CloneAsked(name="again", changes={"training.epochs": "2"})
    made = life.host.service.runs.clone(LOCAL, run, asked, "the clone")
    life.wait(life.answered(made.id, "the clone"), over)


def _upload(life: Life) -> None:
    """The file in its parts, as far as they are missing, beside one that was abandoned long ago."""
    files = life.host.service.files
    with contextlib.suppress(NotFoundError, ConflictError):  # an earlier life has cleared it away
        begun = files.begin(LOCAL, wire.FileAsked(sha256=ABANDONED, size=len(ROWS)))
        files.put(LOCAL, ABANDONED, 0, ROWS[: begun.part_size])
        life.host.service.database.use_file(LOCAL.project, ABANDONED, 0.0)
    told = files.begin(LOCAL, wire.FileAsked(sha256=SHA256, size=len(ROWS)))
    size = told.part_size
    for number in told.missing:
        files.put(LOCAL, SHA256, number, ROWS[number * size : (number + 1) * size])
    files.finish(LOCAL, SHA256)


def _uploaded(life: Life, run: str) -> None:
    """The file is deleted once nobody needs it."""
    life.wait(run, over)
    with contextlib.suppress(NotFoundError):
        life.host.service.files.delete(LOCAL, SHA256)


def _share(life: Life) -> None:
    """The mapping is kept by its name, and by a name of its own a key is made, used and revoked."""
    service = life.host.service
    service.mappings.put(LOCAL, "tickets", wire.MappingAsked(text=MAPPING))
    key = service.keys.create(LOCAL, wire.KeyAsked(name="ci", role="submitter"))
    Access(service.database, service.clock).caller(key.key)
    service.keys.revoke(LOCAL, key.id)


def _shared(life: Life, run: str) -> None:
    life.wait(run, over)
    with contextlib.suppress(NotFoundError):
        life.host.service.mappings.delete(LOCAL, "tickets")


@dataclass(frozen=True)
class Flow:
    """What is asked for: `before` it is submitted, unless that was answered, and after. `flags` are files of
    the home that the launches and the twins act on. `status` is how its runs end, each with `launches`."""

    act: Callable[[Life, str], None] = _alone
    before: Callable[[Life], None] = _nothing
    spec: str = INLINE
    uploads: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    status: Status = Status.SUCCEEDED
    launches: int = 2
    runs: int = 1

    def asked(self, home: Path) -> wire.Submission:
        base = None if self.uploads else str(home)
        return wire.Submission(spec=SPEC + self.spec, base=base, uploads=dict(self.uploads))

    def live(self, life: Life) -> None:
        """Submit with the same key as every life before, and see it to its end."""
        if not (life.home / "answers").exists():
            self.before(life)
        run = life.submitted(self.asked(life.home))
        self.act(life, run)
        if life.host.service.database.deleted_run(run) is None:
            life.wait(run, over)


_PUBLISH = f"{INLINE}publish: [{{mlflow: {{model: triage}}}}]\n"
_SOON = {"temporary_days": 1e-6, "warning_days": 1e-6, "stored_bytes": 10**9}
FLOWS: Mapping[str, Flow] = {
    "submit": Flow(),
    "publish": Flow(spec=_PUBLISH),
    "refused": Flow(_refused, spec=_PUBLISH, flags=("refuse", "deaf")),
    "evicted": Flow(flags=("evict",), launches=3),
    "stalled": Flow(
        settings={"stalled_seconds": 1.0, "stalled_stop_seconds": 2.0}, flags=("stall",), launches=3
    ),
    "cancel": Flow(_cancel, flags=("hold",), status=Status.CANCELLED),
    "discard": Flow(_discard, flags=("hold",), status=Status.CANCELLED),
    "pause": Flow(_pause, flags=("hold",), launches=3),
    "report": Flow(_report, flags=("hold",)),
    "clone": Flow(_clone, runs=2),
    "delete": Flow(_delete),
    "dataset": Flow(_forget),
    "temporary": Flow(_retain, spec=f"{INLINE}temporary: true\n", settings=_SOON),
    "upload": Flow(
        _uploaded, _upload, uploads={"dataset.source": uploads.Upload(SHA256, "tickets.jsonl").address}
    ),
    "mapping": Flow(_shared, _share, spec="mapping: tickets\n"),
}


def hasten(flow: str) -> None:
    """What a flow waits for comes soon; the others need not look for it so often."""
    uploads.PART_BYTES = 20
    if flow == "stalled":  # nothing tells of it but the look that is taken whatever glances saw
        due.SURE_SECONDS = (0.5, 1.0)
    if flow == "delete":
        sweep.SWEEP_SECONDS = 0.05
    if flow in ("delete", "dataset", "temporary", "upload"):
        removals.SWEEP_SECONDS = 0.05
    if flow == "temporary":
        retention.SWEEP_SECONDS = room.SWEEP_SECONDS = 0.05
        room.AGAIN_SECONDS = 0.1
