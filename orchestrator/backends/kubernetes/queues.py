"""Where suspended Jobs stand in Kueue's queues: Workloads are followed, positions asked for now and then.

Nothing here decides whether a launch lives, so nothing is asked about one launch: while the watch is out of
touch, one list serves all, and of a cluster without Kueue that is asked once a minute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from orchestrator.backends import BackendAway
from orchestrator.backends.kubernetes.api import Api, NotAllowed, NotThere
from orchestrator.backends.kubernetes.kueue import Place, kept_of_workload, launch_of_workload, queue_of
from orchestrator.backends.kubernetes.objects import items, met
from orchestrator.backends.kubernetes.remembered import Remembered
from orchestrator.backends.kubernetes.watch import Watched
from orchestrator.errors import BackendError

GROUP, VISIBILITY = "kueue.x-k8s.io", "visibility.kueue.x-k8s.io"
OWNER = f"{GROUP}/job-uid"  # every Workload that Kueue makes of a Job has this label
SERVED_SECONDS, LISTED_SECONDS, POSITION_SECONDS = 60.0, 2.0, 15.0

Object = Mapping[str, Any]


class Queues:
    """Kueue's view of one namespace; `hear` is told of each launch that something happens to."""

    def __init__(
        self, api: Api, namespace: str, clock: Callable[[], float], hear: Callable[[str], None]
    ) -> None:
        self._api, self._namespace, self._hear = api, namespace, hear
        self._served = Remembered(SERVED_SECONDS, self._ask_version, clock)
        self._listed = Remembered(LISTED_SECONDS, self._ask_workloads, clock)
        self._positions = Remembered(POSITION_SECONDS, self._ask_positions, clock)

    def place(self, job: Object) -> Place:
        """Where a suspended Job stands. Raises BackendAway where the cluster cannot be asked."""
        queue, name = queue_of(job), str(job["metadata"]["name"])
        if queue is None:
            return Place()
        if self._served.of(GROUP) is None:
            return Place(kueue=False)
        try:
            found = self._workloads(name)
        except BackendError as error:
            if isinstance(error, BackendAway) and not isinstance(error, NotAllowed):
                raise
            return Place(unseen=f"it is in the queue {queue}, and the service cannot see more of it: {error}")
        ours = [each for each in found if met(each, "metadata", "labels", OWNER) == job["metadata"]["uid"]]
        ahead = self._positions.of(queue).get(job["metadata"]["uid"]) if ours else None
        return Place(ours[0] if ours else None, ahead)

    def close(self) -> None:
        if "_watched" in self.__dict__:
            self._watched.close()

    @cached_property
    def _watched(self) -> Watched:
        return Watched(self._api, self._path, OWNER, kept_of_workload, launch_of_workload, self._hear)

    @property
    def _path(self) -> str:
        return f"/apis/{GROUP}/{self._served.of(GROUP)}/namespaces/{self._namespace}/workloads"

    def _workloads(self, launch: str) -> Sequence[Object]:
        seen = self._watched.of(launch)
        return self._listed.of(self._path).get(launch, ()) if seen is None else seen

    def _ask_version(self, group: str) -> str | None:
        """The version of an API group that the cluster prefers; None where it has none of it."""
        try:
            return str(self._api.get(f"/apis/{group}")["preferredVersion"]["version"])
        except NotThere:
            return None

    def _ask_workloads(self, path: str) -> Mapping[str, Sequence[Object]]:
        found: dict[str, list[Object]] = {}
        for each in self._api.get(path, labelSelector=OWNER)["items"]:
            found.setdefault(launch_of_workload(each["metadata"]["name"]), []).append(kept_of_workload(each))
        return found

    def _ask_positions(self, queue: str) -> Mapping[str, int]:
        """How many are before each Job in its queue, by the Job's UID; nothing where Kueue does not tell."""
        try:
            version = self._served.of(VISIBILITY)
            if version is None:
                return {}
            path = f"/apis/{VISIBILITY}/{version}/namespaces/{self._namespace}/localqueues/{queue}"
            pending = self._api.get(f"{path}/pendingworkloads")
        except BackendError:  # a part of Kueue of its own, which may be off, away or not granted
            return {}
        return {
            str(met(owner, "uid")): int(each["positionInLocalQueue"])
            for each in items(met(pending, "items"))
            for owner in items(met(each, "metadata", "ownerReferences"))
        }
