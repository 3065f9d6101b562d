"""A launch's Job, pods and events: from what is watched where that is certain, else by asking.

Following costs one connection for each kind, so looking at a thousand launches asks nothing. That there is no
Job is always asked for: news that lag behind would otherwise make a second launch beside the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from orchestrator.backends.kubernetes.api import Api, NotThere
from orchestrator.backends.kubernetes.manifest import RUN
from orchestrator.backends.kubernetes.observe import kept_of_job, kept_of_pod
from orchestrator.backends.kubernetes.remembered import Remembered
from orchestrator.backends.kubernetes.watch import Watched

EVENT_SECONDS = 2.0  # for so long, one list of events serves every launch that waits
EVENTS = 2000  # at most; they come by their names, so those that nobody reads must not fill the list

Object = Mapping[str, Any]


class Sight:
    """What can be seen of launches in one namespace; `hear` is told of each that something happens to."""

    def __init__(
        self, api: Api, namespace: str, clock: Callable[[], float], hear: Callable[[str], None]
    ) -> None:
        self._api, self._hear = api, hear
        self._core = f"/api/v1/namespaces/{namespace}"
        self._jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self._warnings = Remembered(EVENT_SECONDS, self._ask_warnings, clock)

    def job(self, name: str) -> Object | None:
        """Raises BackendError where the cluster cannot be asked."""
        seen = self._watched_jobs.of(name)
        return seen[0] if seen else self.ask_job(name)

    def watched_job(self, name: str) -> Object | None:
        """The Job as far as it is known without asking."""
        seen = self._watched_jobs.of(name)
        return seen[0] if seen else None

    def pods(self, name: str) -> Sequence[Object]:
        """Raises BackendError where the cluster cannot be asked."""
        seen = self._watched_pods.of(name)
        return self.ask_pods(name) if seen is None else seen

    def events(self, name: str) -> Sequence[Object]:
        """Warnings about a Job and its pods. Raises BackendError where the cluster cannot be asked."""
        about = ((event, event["involvedObject"].get("name", "")) for event in self._warnings.of("Warning"))
        return [event for event, who in about if name in (who, launch_of_pod(who))]

    def ask_job(self, name: str) -> Object | None:
        """Raises BackendError where the cluster cannot be asked."""
        try:
            return self._api.get(f"{self._jobs}/{name}")
        except NotThere:
            return None

    def ask_pods(self, name: str) -> Sequence[Object]:
        """Raises BackendError where the cluster cannot be asked."""
        found = self._api.get(f"{self._core}/pods", labelSelector=f"batch.kubernetes.io/job-name={name}")
        return list(found["items"])

    def forget(self, name: str) -> None:
        """A Job that was just removed."""
        self._watched_jobs.drop(name)

    def close(self) -> None:
        for kind in ("_watched_jobs", "_watched_pods"):
            if kind in self.__dict__:
                self.__dict__[kind].close()

    def _ask_warnings(self, kind: str) -> Sequence[Object]:
        about = f"type={kind},reason!=FailedScheduling"  # pods say that themselves
        query = {"fieldSelector": about, "limit": str(EVENTS)}
        return list(self._api.get(f"{self._core}/events", **query)["items"])

    @cached_property
    def _watched_jobs(self) -> Watched:
        return Watched(self._api, self._jobs, RUN, kept_of_job, lambda name: name, self._hear)

    @cached_property
    def _watched_pods(self) -> Watched:
        return Watched(self._api, f"{self._core}/pods", RUN, kept_of_pod, launch_of_pod, self._hear)


def launch_of_pod(name: str) -> str:
    """The Job controller puts a dash and five letters behind its own name."""
    return name.rpartition("-")[0]
