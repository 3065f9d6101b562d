"""What a namespace holds, followed by one list and one watch for each kind, however many launches there are.

A watch that is resumed too late is answered by 410, and everything is listed again. One that has said nothing
for longer than the server lets pass between two bookmarks is a dead connection, and is opened anew. Until
it is back in touch, nothing here counts as known. Objects are kept as far as they are read; one that makes no
sense is left out.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from orchestrator.backends import BackendAway
from orchestrator.errors import BackendError

WATCH_SECONDS = 300  # the server ends a watch then, and it goes on in another
SILENCE_SECONDS = 70.0  # bookmarks come about once a minute
AGAIN_SECONDS = (0.2, 1.0, 5.0, 15.0)  # by how often it failed in a row
LASTED_SECONDS = 15.0  # a connection that broke after that did not fail: a proxy ends those that are quiet
_GONE = 410

Object = Mapping[str, Any]

_log = logging.getLogger(__name__)


class Lister(Protocol):
    """What of the API this needs."""

    def get(self, path: str, **query: str) -> Mapping[str, Any]:
        """A list of objects."""

    def stream(self, path: str, silence: float, **query: str) -> Iterator[bytes]:
        """An empty line once there is a connection, then lines as they come; raises BackendAway after so
        many seconds without one."""


class TooOld(BackendError):
    """The cluster no longer knows what has happened since then."""


class Watched:
    """The objects at a path as they are now, by their launch; `keep` says what is kept of one, and `hear` is
    told the launch of each that changed."""

    def __init__(
        self,
        api: Lister,
        path: str,
        selector: str,
        keep: Callable[[Object], Object],
        launch_of: Callable[[str], str],
        hear: Callable[[str], None],
    ) -> None:
        self._api, self._path, self._selector = api, path, selector
        self._keep, self._launch_of, self._hear = keep, launch_of, hear
        self._objects: dict[str, dict[str, Object]] = {}
        self._version = ""
        self._in_touch = False
        self._left_out = self._failures = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        threading.Thread(target=self._follow, name=f"watch {path}", daemon=True).start()

    def close(self) -> None:
        """No more news; the thread leaves with its connection."""
        self._over.set()

    def of(self, launch: str) -> Sequence[Object] | None:
        """Those of a launch; None while they are not known for certain."""
        with self._lock:
            return list(self._objects.get(launch, {}).values()) if self._in_touch else None

    def drop(self, name: str) -> None:
        """Take out what was just removed, before the watch tells it."""
        with self._lock:
            self._set(name, None)

    def _set(self, name: str, thing: Object | None) -> None:
        launch = self._launch_of(name)
        group = self._objects.setdefault(launch, {})
        if thing is not None:
            group[name] = thing
            return
        group.pop(name, None)
        if not group:
            del self._objects[launch]

    def _follow(self) -> None:
        while not self._over.is_set():
            began = time.monotonic()
            try:
                self._turn()
                self._failures = 0
            except TooOld:
                self._version = ""
            except BackendAway as error:
                self._lose_touch(error)
                lasted = time.monotonic() - began > LASTED_SECONDS
                self._failures = 1 if lasted else self._failures + 1
            except Exception as error:  # whatever was said, it goes on, from a fresh list
                self._lose_touch(error)
                self._version = ""
                self._failures += 1
            self._over.wait(AGAIN_SECONDS[min(self._failures, len(AGAIN_SECONDS) - 1)])

    def _turn(self) -> None:
        """List where that is needed, then watch until the server ends it."""
        if not self._version:
            self._list()
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(WATCH_SECONDS),
            "labelSelector": self._selector,
        }
        for line in self._api.stream(self._path, SILENCE_SECONDS, **query):
            if self._over.is_set():
                return
            if line:
                self._take_in(json.loads(line))
            else:
                self._in_touch = True

    def _list(self) -> None:
        found = self._api.get(self._path, labelSelector=self._selector)
        kept = dict(self._kept(thing) for thing in found["items"])
        with self._lock:
            self._objects = {}
            for name, thing in kept.items():
                self._set(name, thing)
            self._version = found["metadata"]["resourceVersion"]
            self._in_touch = True

    def _take_in(self, event: Object) -> None:
        thing, kind = event["object"], event["type"]
        if kind == "ERROR":
            told = thing.get("message", "no reason")
            raise TooOld(told) if thing.get("code") == _GONE else BackendAway(f"the watch ended: {told}")
        name, kept = ("", None) if kind == "BOOKMARK" else self._kept(thing)
        with self._lock:
            self._version, self._failures = thing["metadata"]["resourceVersion"], 0
            if kept is not None:
                self._set(name, None if kind == "DELETED" else kept)
        if kept is not None:
            self._hear(self._launch_of(name))

    def _kept(self, thing: object) -> tuple[str, Object | None]:
        """An object's name and what is kept of it; nothing of one that makes no sense."""
        try:
            name = thing["metadata"]["name"]  # type: ignore[index]
            return str(name), self._keep(thing)  # type: ignore[arg-type]
        except Exception as error:  # objects are anybody's; one of them must not blind us to the others
            if not self._left_out:
                _log.warning("an object at %s is left out: %r; so are more like it", self._path, error)
            self._left_out += 1
            return "", None

    def _lose_touch(self, error: Exception) -> None:
        with self._lock:
            was, self._in_touch = self._in_touch, False
        if was:
            _log.warning("%s cannot be followed now: %s", self._path, error)
