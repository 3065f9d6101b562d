"""Launches as Jobs of a Kubernetes cluster: one Job per launch, made once by its name.

The Job controller replaces pods that the cluster takes away, inside the launch; all else that ends a pod
ends the Job, and our controller decides what follows. Stopping removes the Job in the foreground, so it is
seen until its pod is gone. A Job that somebody removed is missing: storage knows how far it got.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from orchestrator.backends import BackendAway, LaunchRequest
from orchestrator.backends.kubernetes.api import MAKE_NAMESPACE, AlreadyThere, Api, NotThere
from orchestrator.backends.kubernetes.checkpoints import checkpoint_note
from orchestrator.backends.kubernetes.kueue import told_of
from orchestrator.backends.kubernetes.manifest import (
    COMPONENT,
    job_manifest,
    launch_of,
    pod_of,
    read_template,
)
from orchestrator.backends.kubernetes.observe import (
    CONTAINER,
    has_ended,
    is_suspended,
    needs_events,
    observation,
)
from orchestrator.backends.kubernetes.queues import Queues
from orchestrator.backends.kubernetes.sight import Sight, launch_of_pod
from orchestrator.backends.kubernetes.tokens import PodTokens
from orchestrator.errors import BackendError, UnreachableError, with_hint
from orchestrator.runs import Observation, Phase
from orchestrator.settings import Settings

_LOG_LINES = 5000

Object = Mapping[str, Any]


class KubernetesBackend:
    """Runs launches in one namespace of a cluster; `clock` gives seconds since 1970."""

    vouches = True

    def __init__(
        self, settings: Settings, api: Api | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        assert settings.kubernetes is not None
        self._settings = settings
        self._section = settings.kubernetes
        self._api = api or Api(self._section.context, self._section.requests_per_second)
        self._hear: Callable[[str], None] = lambda _name: None
        self._sight = Sight(self._api, self._section.namespace, clock, self._told)
        self._queues = Queues(self._api, self._section.namespace, clock, self._told)
        self._clock = clock
        self._core = f"/api/v1/namespaces/{self._section.namespace}"
        self._jobs = f"/apis/batch/v1/namespaces/{self._section.namespace}/jobs"

    def request(self, launch: LaunchRequest) -> Mapping[str, Any]:
        return job_manifest(self._template, launch, self._section)

    def check(self, launch: LaunchRequest) -> None:
        """The API server says it, admission and all."""
        self._create(launch, dryRun="All")

    def launch(self, launch: LaunchRequest) -> None:
        try:
            self._create(launch)
        except AlreadyThere as error:
            if self._job(launch.name) is None:
                hint = f"remove it, or let launches run in another namespace than {self._section.namespace}"
                raise BackendError(f"somebody else's Job is called {launch.name}", hint=hint) from error

    def observe(self, name: str) -> Observation:
        try:
            job = self._ours(name, self._sight.job(name))
            if job is None:
                return Observation(Phase.MISSING)
            pods = self._sight.ask_pods(name) if has_ended(job) else self._sight.pods(name)
            events = self._sight.events(name) if needs_events(job, pods) else []
            waits = told_of(job, self._queues.place(job)) if is_suspended(job) else None
        except BackendError as error:
            return Observation(Phase.UNKNOWN, detail=with_hint(error))
        return observation(job, pods, events, self._clock(), waits)

    def on_news(self, hear: Callable[[str], None]) -> None:
        self._hear = hear

    def stop(self, name: str, now: float) -> None:
        job = self._job(name)
        if job is None or has_ended(job) or job["metadata"].get("deletionTimestamp"):
            return  # told already: the kubelet is firm once the grace is over
        self._delete(job, "Foreground")

    def launches(self) -> Sequence[str]:
        jobs = self._api.get(self._jobs, labelSelector=f"{COMPONENT}=launch")["items"]
        return sorted(name for job in jobs if (name := launch_of(job, self._settings.is_storage)))

    def remove(self, name: str) -> None:
        job = self._job(name)
        if job is not None and has_ended(job):
            self._delete(job, "Background")
            self._sight.forget(name)

    def note_checkpoint(self, name: str, step: int, saved: float) -> None:
        job = self._ours(name, self._sight.watched_job(name))
        note = checkpoint_note(job, step, saved, self._clock()) if job and not has_ended(job) else None
        if note:
            with contextlib.suppress(NotThere, AlreadyThere):  # it has changed meanwhile: at another look
                self._api.change(f"{self._jobs}/{name}", note)

    def holder(self, credential: str) -> str | None:
        pod = self._tokens.pod(credential)
        name = launch_of_pod(pod.name) if pod else ""
        try:
            if pod is None or self._ours(name, self._sight.job(name)) is None:
                return None
            uids = [each["metadata"]["uid"] for each in self._sight.pods(name)]
        except BackendError as error:
            raise UnreachableError("the cluster does not answer") from error
        return name if pod.uid in uids else None

    def close(self) -> None:
        self._sight.close()
        self._queues.close()
        self._api.close()

    def logs(self, name: str) -> str:
        try:
            pods = sorted(
                self._sight.ask_pods(name), key=lambda pod: str(pod["metadata"]["creationTimestamp"])
            )
            return "".join(self._log(pod["metadata"]["name"]) for pod in pods)
        except BackendError:
            return ""

    def _told(self, name: str) -> None:
        self._hear(name)

    def _create(self, launch: LaunchRequest, **query: str) -> None:
        try:
            self._api.create(self._jobs, self.request(launch), **query)
        except NotThere as error:
            what = f"there is no namespace {self._section.namespace}"
            raise BackendAway(what, hint=MAKE_NAMESPACE) from error

    @cached_property
    def _template(self) -> Object:
        return read_template(self._section.job)

    @cached_property
    def _tokens(self) -> PodTokens:
        account = pod_of(self._template).get("serviceAccountName", "default")
        return PodTokens(self._api, self._section.namespace, account, self._clock)

    def _job(self, name: str) -> Object | None:
        return self._ours(name, self._sight.ask_job(name))

    def _ours(self, name: str, job: Object | None) -> Object | None:
        """The Job of a launch; another's of the same name is none."""
        return job if job and launch_of(job, self._settings.is_storage) == name else None

    def _delete(self, job: Object, propagation: Literal["Foreground", "Background"]) -> None:
        """Remove this very Job; one of its name that came later is not meant."""
        metadata = job["metadata"]
        with contextlib.suppress(NotThere, AlreadyThere):
            self._api.delete(f"{self._jobs}/{metadata['name']}", metadata["uid"], propagation)

    def _log(self, pod: str) -> str:
        try:
            path = f"{self._core}/pods/{pod}/log"
            return self._api.text(path, container=CONTAINER, tailLines=str(_LOG_LINES))
        except BackendAway:
            raise
        except BackendError:
            return ""  # its container has not begun
