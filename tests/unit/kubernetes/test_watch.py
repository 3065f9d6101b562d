"""Following a namespace through everything that a watch can do to those who listen."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from orchestrator.backends import BackendAway
from orchestrator.backends.kubernetes import watch
from orchestrator.backends.kubernetes.observe import kept_of_job
from orchestrator.backends.kubernetes.watch import Watched


def job(name: str, version: int, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}, "spec": {}, "status": status}


def event(kind: str, thing: object) -> bytes:
    return json.dumps({"type": kind, "object": thing}).encode()


AWAY = BackendAway("it does not answer")
GONE = event("ERROR", {"code": 410, "message": "too old resource version"})


class Script:
    """An API server that says what the test wants: lists in turn, and streams of lines or of faults."""

    def __init__(
        self, lists: list[list[Any]], streams: list[list[bytes | Exception]], *, deaf: bool = False
    ) -> None:
        self._lists, self._streams, self._deaf = lists, streams, deaf
        self.asked: list[str] = []
        self.told = threading.Event()

    def get(self, path: str, **query: str) -> Mapping[str, Any]:
        self.asked.append("list")
        items = self._lists.pop(0) if len(self._lists) > 1 else self._lists[0]
        return {"metadata": {"resourceVersion": "100"}, "items": items}

    def stream(self, path: str, silence: float, **query: str) -> Iterator[bytes]:
        self.asked.append(f"watch {query['resourceVersion']}")
        lines = self._streams.pop(0) if self._streams else None
        if lines == [AWAY]:
            raise AWAY
        if lines is not None or not self._deaf:
            yield b""
        for line in lines or []:
            if isinstance(line, Exception):
                raise line
            yield line
        if lines is None:
            self.told.set()
            threading.Event().wait(5)  # nothing happens any more


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "AGAIN_SECONDS", (0.0, 0.01))


@pytest.fixture
def follow() -> Iterator[Callable[[Script], Watched]]:
    """Follow a script up to its end."""
    made: list[Watched] = []

    def start(script: Script) -> Watched:
        made.append(Watched(script, "/jobs", "axo/run", kept_of_job, lambda name: name, HEARD.append))
        assert script.told.wait(60)
        return made[-1]

    yield start
    for each in made:
        each.close()


def names(watched: Watched, *wanted: str) -> list[str]:
    return [name for name in wanted if watched.of(name)]


HEARD: list[str] = []
Follow = Callable[[Script], Watched]


def test_it_lists_once_and_goes_on_from_the_newest_version(follow: Follow) -> None:
    lines = [
        event("ADDED", job("b", 101)),
        event("DELETED", job("a", 102)),
        event("BOOKMARK", {"metadata": {"resourceVersion": "150"}}),
    ]
    script = Script([[job("a", 90)]], [lines])
    HEARD.clear()
    assert names(follow(script), "a", "b") == ["b"]
    assert HEARD == ["b", "a"], "it tells of each that something happens to"
    assert script.asked == ["list", "watch 100", "watch 150"]


def test_what_is_too_old_is_listed_again(follow: Follow) -> None:
    script = Script([[job("a", 90)], [job("b", 95)]], [[GONE]])
    assert names(follow(script), "a", "b") == ["b"]
    assert script.asked == ["list", "watch 100", "list", "watch 100"]


def test_a_broken_connection_goes_on_where_it_was(follow: Follow) -> None:
    broken: list[bytes | Exception] = [event("ADDED", job("b", 101)), AWAY]
    script = Script([[job("a", 90)]], [broken, [event("BOOKMARK", {"metadata": {"resourceVersion": "102"}})]])
    assert names(follow(script), "a", "b") == ["a", "b"]
    assert script.asked == ["list", "watch 100", "watch 101", "watch 102"]


def test_a_connection_that_told_something_before_it_broke_is_opened_again_soon(
    follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a proxy that ends every connection after a minute: nothing is amiss with the server."""
    monkeypatch.setattr(watch, "AGAIN_SECONDS", (0.0, 0.01, 20.0))
    broken: list[list[bytes | Exception]] = [[event("ADDED", job("b", 101 + n)), AWAY] for n in range(3)]
    began = time.monotonic()
    follow(Script([[job("a", 90)]], broken))
    assert time.monotonic() - began < 10


def test_a_quiet_connection_that_broke_after_a_while_is_opened_again_soon(
    follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "AGAIN_SECONDS", (0.0, 0.01, 20.0))
    monkeypatch.setattr(watch, "LASTED_SECONDS", 0.0)
    began = time.monotonic()
    follow(Script([[job("a", 90)]], [[AWAY], [AWAY], [AWAY]]))
    assert time.monotonic() - began < 10


def test_while_nothing_is_heard_nothing_is_known(follow: Follow) -> None:
    assert follow(Script([[job("a", 90)]], [[AWAY]], deaf=True)).of("a") is None
    assert names(follow(Script([[job("a", 90)]], [[AWAY]])), "a") == ["a"]  # once it is connected again


def test_doubled_and_late_events_change_nothing(follow: Follow) -> None:
    ended = job("a", 103, conditions=[{"type": "Complete", "status": "True"}])
    lines = [event("MODIFIED", ended), event("MODIFIED", ended), event("DELETED", job("b", 104))]
    watched = follow(Script([[job("a", 90)]], [[*lines, event("DELETED", job("b", 104))]]))
    (kept,) = watched.of("a") or ()
    assert kept["status"]["conditions"]
    assert names(watched, "b") == []


def test_what_is_malformed_is_left_out_and_the_rest_is_seen(follow: Follow) -> None:
    """100,000 objects that make no sense, in the list and as events, between two that do."""
    nonsense = [None, 7, "text", [], {}, {"metadata": None}, {"metadata": {"name": "x"}}, {"metadata": []}]
    lines = [
        event("ADDED", {"metadata": {"name": f"bad-{i}", "resourceVersion": str(101 + i)}, "spec": i % 3})
        for i in range(50_000)
    ]
    script = Script([[*nonsense * 6250, job("a", 90)]], [[*lines, event("ADDED", job("b", 60_000))]])
    began = time.monotonic()
    assert names(follow(script), "a", "b") == ["a", "b"]
    assert time.monotonic() - began < 10
    assert script.asked.count("list") == 1


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"type": "ADDED"}', event("ADDED", {"metadata": {}})])
def test_a_line_that_is_no_event_is_followed_by_a_fresh_list(follow: Follow, line: bytes) -> None:
    script = Script([[job("a", 90)], [job("b", 95)]], [[line]])
    assert names(follow(script), "a", "b") == ["b"]


def test_whose_pods_they_are_is_told_apart(follow: Follow) -> None:
    script = Script([[job("a-1-xyz12", 90), job("a-1-abc34", 91), job("a-11-abc34", 92)]], [])
    watched = Watched(
        script, "/pods", "axo/run", kept_of_job, lambda name: name.rpartition("-")[0], lambda _: None
    )
    assert script.told.wait(60)
    assert [len(watched.of(launch) or ()) for launch in ("a-1", "a-11", "a")] == [2, 1, 0]
    watched.close()
