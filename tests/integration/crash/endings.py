"""What must be true of a home once somebody has lived to the end of its flow."""

from __future__ import annotations

import shutil
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flows import DATASET, FLOWS, SHA256, Flow
from twins import heard

from orchestrator import contract
from orchestrator.db import Database, Run, opened
from orchestrator.db import tables as t
from orchestrator.reasons import Reason
from orchestrator.runs import Status

LEFT = f"storage/uploads/default/{'b' * 64}/{contract.UNFINISHED}1-2-part-000000"
_ENDS = {Status.SUCCEEDED: "FINISHED", Status.CANCELLED: "KILLED"}


def check(home: Path, flow: str) -> None:
    """One answer to each key, one run for it, each launch started once, nothing that outlives its run, each
    point told once, one end, and an audit log that holds each change once; storage goes afterwards."""
    answers = _answers(home)
    with opened((home / "database").read_text()) as database:
        _Ending(home, flow, FLOWS[flow], database).check(answers)
        assert database.verify_changes().broken is None
        submitted = [each.change.subject for each in database.changes(limit=99) if _submits(each)]
    assert sorted(submitted) == sorted(answers), "the audit log lacks a submission, or has it twice"
    left = [pid for _, _, pid in starts(home) if _alive(int(pid))]
    assert not left, "a launch outlives its run"
    assert not (home / LEFT).exists(), "what a killed writer left is there for ever"
    shutil.rmtree(home / "storage")


@dataclass(frozen=True)
class _Ending:
    home: Path
    name: str
    flow: Flow
    database: Database

    def check(self, answers: set[str]) -> None:
        assert len(answers) == self.flow.runs
        if self.name == "delete":
            self._deleted(*answers)
            return
        runs = self.database.runs()
        assert {run.id for run in runs} == answers, "a run is lost, or nobody asked for it"
        for run in runs:
            self._run(run)
        if self.name == "temporary":
            self._expired(*runs)
        if self.name == "dataset":
            assert self.database.datasets(runs[0].project, 9) == []
            assert not (self.home / "storage" / contract.dataset_key(DATASET)).exists()
        if self.name == "upload":
            assert self.database.files(runs[0].project, 9) == []
            assert [path for path in self.home.glob(f"storage/uploads/*/{SHA256}/*") if _counts(path)] == []
        if self.name == "mapping":
            assert self.database.mappings(runs[0].project, 9) == []

    def _run(self, run: Run) -> None:
        flow, database = self.flow, self.database
        assert run.status is flow.status, f"{run.status} {run.reason} {run.message}"
        decided = [launch.number for launch in database.launches(run.id)]
        started = [int(number) for name, number, _ in starts(self.home) if name == run.id]
        assert started == decided == list(range(1, flow.launches + 1)), f"started {started} of {decided}"
        steps = [point.step for point in database.points(run.id, "loss")]
        assert steps == [1, 2, 3, 4, 5]
        said = [each for each in heard(self.home) if each["run"] in (run.id, f"mlflow-{run.id}")]
        assert _told_steps(said) == steps, "MLflow lacks a point, or has two for a step"
        assert said[-1] == {"kind": "end", "run": f"mlflow-{run.id}", "status": _ENDS[flow.status]}
        published = database.publications(run.id)
        versions = [each for each in said if each["kind"] == "version"]
        assert len(versions) == len(published) == ("publish:" in flow.spec)
        folder = contract.open_store((self.home / "storage").as_uri()).below(f"runs/{run.id}")
        if self.name in ("discard", "temporary"):
            assert contract.read_manifest(folder, "adapter") is None
        else:
            assert contract.verify_folder(folder, "adapter") == [], "nobody may lose what was trained"

    def _expired(self, run: Run) -> None:
        """Warned of before they went, once, and nothing of them left."""
        reasons = [event.reason for event in self.database.events(run.id)]
        assert reasons.count(Reason.EXPIRED) == 1
        assert Reason.EXPIRES in reasons[: reasons.index(Reason.EXPIRED)]
        assert self.database.removals() == []
        folder = self.home / "storage" / "runs" / run.id
        assert not (folder / "adapter").exists()
        assert not (folder / "checkpoints").exists()

    def _deleted(self, run: str) -> None:
        """Nothing of the run is left but that it was there, and MLflow knows how it ended."""
        assert self.database.deleted_run(run) is not None
        assert self.database.removals() == []
        with self.database.reading() as connection:
            tables = [table for table in t.metadata.sorted_tables if "run" in table.c]
            left = {table.name: connection.execute(sa.select(table)).all() for table in tables}
        assert [name for name, rows in left.items() if rows] == ["requests"]
        assert [each.change.action for each in self.database.changes(limit=9)].count("run.delete") == 1
        assert list((self.home / "storage").glob("runs/*")) == []
        assert list((self.home / "local").glob("triage-*")) == [], "the backend still holds a launch of it"
        assert (self.home / "storage/inputs/input.json").exists(), "what others may use stays"
        assert heard(self.home)[-1] == {"kind": "end", "run": f"mlflow-{run}", "status": "FINISHED"}


def _answers(home: Path) -> set[str]:
    """The runs that the keys got; each key got one."""
    runs: dict[str, set[str]] = defaultdict(set)
    for line in (home / "answers").read_text().splitlines():
        key, _, run = line.partition(": ")
        runs[key].add(run)
    assert all(len(found) == 1 for found in runs.values()), f"a repeated submission was answered by {runs}"
    return set().union(*runs.values())


def starts(home: Path) -> list[list[str]]:
    """Run, number and process of each launch that started."""
    return [line.split() for line in (home / "starts").read_text().splitlines()]


def _submits(recorded: Any) -> bool:
    return bool(recorded.change.action == "run.submit")


def _told_steps(said: list[dict[str, Any]]) -> list[int]:
    points = {tuple(point) for each in said if each["kind"] == "points" for point in each["points"]}
    return sorted(step for _, step, *_ in points)


def _counts(path: Path) -> bool:
    """What was cut off while it was written counts for nothing."""
    return not path.name.startswith(contract.UNFINISHED)


def _alive(pid: int) -> bool:
    """A zombie, which its dead parent's parent has yet to bury, is not alive."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
