"""The verb that foresees a run: its config, its steps, what it needs, what would be launched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from orchestrator import errors, wire
from orchestrator.backends import Backend, LaunchRequest
from orchestrator.changes import Foreseen, changes
from orchestrator.controller.of_run import run_store
from orchestrator.controller.package import newest_config
from orchestrator.service.caller import Caller
from orchestrator.service.reach import check_here
from orchestrator.service.runs import Runs
from orchestrator.settings import Settings
from orchestrator.spec.load import Loaded

SECONDS = 300.0


@dataclass(frozen=True)
class Plans:
    """Plans of submissions that are not made."""

    settings: Settings
    backend: Backend
    runs: Runs

    def make(self, caller: Caller, asked: wire.Submission, against: str | None = None) -> wire.Plan:
        """What a run of the submission would be, and what differs from the run `against`; nothing is kept.

        Raises:
            NotFoundError: there is no such run to tell the changes against.
            SpecError, DataError: with every fault of spec, base model, data and config; also where data lies
                elsewhere, unless the operator asks.
            TooLargeError: it takes longer than a request may.
        """
        loaded, _ = self.runs.taken(caller, asked)
        if not caller.operator:
            check_here(loaded)
        earlier = None if against is None else self.runs.database.find_run(against, caller.project)
        whole = asked.model_copy(update={"mappings": dict(loaded.mapping_texts)})
        found = _planned(self.settings, caller.project, whole)
        launch = self._launch(loaded, caller.project)
        found |= {"request": dict(self.backend.request(launch)), "refused": self._refused(launch)}
        if earlier is None:
            return wire.Plan(**found)
        now = Foreseen(
            loaded.spec.model_dump(mode="json"), found["splits"], found["config"], found["estimate"]
        )
        changed = changes(now, earlier.spec, earlier.facts, newest_config(run_store(earlier)))
        return wire.Plan(**found, against=earlier.id, changes=changed)

    def _refused(self, launch: LaunchRequest) -> str | None:
        try:
            self.backend.check(launch)
        except errors.BackendError as error:
            return errors.with_hint(error)
        return None

    def _launch(self, loaded: Loaded, project: str) -> LaunchRequest:
        """The training launch of such a run, under an id that none has."""
        machine = self.settings.machines[loaded.spec.compute.machine]
        compute = loaded.spec.compute
        return LaunchRequest(
            f"{loaded.spec.name}-xxxxx",
            2,
            "train",
            self.settings.of(project).storage,
            machine,
            queue=compute.queue,
            priority=compute.priority,
        )


def _planned(settings: Settings, project: str, asked: wire.Submission) -> dict[str, Any]:
    """What the planner answers, in a process of its own: data is foreign, and may be large."""
    question = {"submission": asked.model_dump(mode="json"), "project": project}
    environment = {
        **os.environ,
        "AXO_HOME": str(settings.home),
        "AXO_STORAGE": settings.storage,
        "AXO_SECRETS": str(settings.secrets),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "orchestrator.planner"],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            env=environment,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        what = f"planning it takes longer than {SECONDS / 60:g} minutes"
        raise errors.TooLargeError(what, hint="submit it: preparing has the time") from error
    if done.returncode:
        raise RuntimeError(f"the planner died ({done.returncode}): {done.stderr[-1000:]}")
    answer = json.loads(done.stdout)
    if "error" in answer:
        told = answer["error"]
        faults = [errors.Fault(**fault) for fault in told["faults"]]
        raise errors.error_of(told["code"], told["message"], told["hint"], faults)
    plan: dict[str, Any] = answer["plan"]
    return plan
