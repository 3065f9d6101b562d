"""Make a launch: decide it in the database, write its plan, start it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from orchestrator import contract
from orchestrator.backends import Backend, BackendAway, LaunchRequest, ReportTo
from orchestrator.controller.decision import Launch
from orchestrator.controller.estimates import estimate_launch
from orchestrator.controller.gauges import LAUNCHES
from orchestrator.controller.of_run import machine_of, spec_of
from orchestrator.controller.report import report_to
from orchestrator.db import Database, Run
from orchestrator.errors import BackendError, SpecError, with_hint
from orchestrator.plan import Plan, Prepared, config_for, plan_evaluate, plan_prepare, plan_train
from orchestrator.reasons import Reason
from orchestrator.runs import Status
from orchestrator.settings import Machine, Settings
from orchestrator.spec.models import Spec
from orchestrator.uploads import uploads_key


@dataclass(frozen=True)
class Launching:
    """Makes launches of runs; raises BackendAway where one may have been started, or may not."""

    settings: Settings
    database: Database
    backend: Backend

    def make(self, run: Run, action: Launch, store: contract.Store, now: float) -> Run:
        """The run after it; each step may be cut off and done again."""
        spec = spec_of(run)
        machine = machine_of(self.settings, spec, action.step)
        try:
            micro_batch_size = action.micro_batch_size or _micro_batch_size(run, spec, action.step, machine)
            number = action.number or self.database.add_launch(run.id, action.step, micro_batch_size, now)
            plan = _make_plan(self.settings, run, spec, number, action.step, machine, micro_batch_size)
            plan.write(store)
            run = self._with_estimate(run, plan, machine)
            self.database.check_lease()
            report = report_to(self.settings, self.database, self.backend, run.id, number, action.step)
            self.backend.launch(_request(run, spec, plan, machine, report))
            LAUNCHES.labels(action.step).inc()
        except SpecError as error:
            return self.database.move(run, Status.FAILED, Reason.CONFIG, str(error), now)
        except BackendAway:
            raise
        except BackendError as error:
            return self.database.move(run, Status.FAILED, Reason.BACKEND, with_hint(error), now)
        return run

    def _with_estimate(self, run: Run, plan: Plan, machine: Machine) -> Run:
        """The run with what it was estimated to take when training was first launched; that stays, to be
        compared with what it took."""
        if plan.config is None or "estimate" in run.facts:
            return run
        storage = contract.open_store(run.storage)
        foreseen = estimate_launch(self.database, run, plan.config, machine, storage)
        return self.database.add_facts(run, {"estimate": foreseen.to_dict()}) if foreseen else run


def _request(run: Run, spec: Spec, plan: Plan, machine: Machine, report: ReportTo | None) -> LaunchRequest:
    """Preparing alone fetches anything, so it alone gets the named secrets, uploads and the spec's folder. It
    does not run on the spec's machine, so it does not queue for that."""
    launch = plan.launch
    reads = tuple(key for key in (launch.model, launch.dataset, launch.adapter) if key)
    whole = LaunchRequest(run.id, launch.launch, launch.step, run.storage, machine, reads, report=report)
    if launch.step != "prepare":
        return replace(whole, queue=spec.compute.queue, priority=spec.compute.priority)
    uploads = (uploads_key(run.project),)
    return replace(whole, reads=uploads, secrets=spec.secrets, inputs=run.base or None)


def _make_plan(
    settings: Settings,
    run: Run,
    spec: Spec,
    number: int,
    step: contract.StepKind,
    machine: Machine,
    micro_batch_size: int | None,
) -> Plan:
    """The plan of a launch; the same for the same arguments."""
    if step == "prepare":
        uploads = uploads_key(run.project)
        return plan_prepare(spec, run.base, run.id, number, machine, settings.slow_templates, uploads)
    prepared = Prepared.from_facts(run.facts)
    if step == "evaluate":
        return plan_evaluate(spec, prepared, run.id, number, machine)
    return plan_train(spec, prepared, run.id, number, machine, micro_batch_size)


def _micro_batch_size(run: Run, spec: Spec, step: contract.StepKind, machine: Machine) -> int | None:
    if step != "train":
        return None
    return config_for(spec, Prepared.from_facts(run.facts).facts, machine).micro_batch_size
