"""The service dies at every boundary, and whoever comes after it brings each run to its one right end.

A share of the points in `scripts/test`, those around a launch among them, and fewer over PostgreSQL; with
AXO_PROVE every point of every flow, and 2,000 deaths at random, 200 over PostgreSQL.
AXO_DEATHS sets the number of these, AXO_SEED which they are, AXO_NURSERIES how many live side by side.
"""

from __future__ import annotations

import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO

import pytest
from boundaries import changing
from databases import Postgres, drop_database, make_database
from endings import LEFT, check
from flows import FLOWS
from steps_in_text import taking_steps
from twins import RegistryTwin, TrackerTwin

from orchestrator.backends.local import LocalBackend
from orchestrator.contract import FileStore
from orchestrator.db import Database, opened
from orchestrator.db import tables as t

HERE = Path(__file__).parent
PROVE = bool(os.environ.get("AXO_PROVE"))
DEATHS = {
    "sqlite": int(os.environ.get("AXO_DEATHS", "2000" if PROVE else "10")),
    "postgresql": int(os.environ.get("AXO_DEATHS", "200" if PROVE else "3")),
}
EVERY = {"sqlite": 8, "postgresql": 40}  # of how many points one is taken, where not all are
NURSERIES = int(os.environ.get("AXO_NURSERIES", "3"))
NEEDED = {"before backend.spawn", "after backend.spawn", "after the commit of database.add_launch"}


@dataclass
class Nursery:
    """A process that forks services and tells how each ended."""

    words: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "nursery.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.words,
            text=True,
        )

    def live(self, home: Path, flow: str, death: Death | None = None) -> bool:
        """One life; whether it got to its end (else it was killed)."""
        assert self.process.stdin
        assert self.process.stdout
        trial = {"home": str(home), "flow": flow, **vars(death or Death())}
        self.process.stdin.write(json.dumps(trial) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, f"the nursery died ({self.process.wait()}): {self._last_words()}"
        ended = json.loads(answer)
        assert not isinstance(ended, str), ended
        return ended is None

    def _last_words(self) -> str:
        self.words.seek(0)
        return self.words.read()[-3000:].decode(errors="replace")

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(10)
        assert self.process.stdout
        self.process.stdout.close()
        self.words.close()


@dataclass(frozen=True)
class Death:
    """At the point of a name, at the n-th boundary where something changes, or after so many seconds."""

    name: str | None = None
    count: int | None = None
    seconds: float | None = None


@pytest.fixture(scope="module")
def nurseries() -> Iterator[queue.SimpleQueue[Nursery]]:
    found = [Nursery() for _ in range(NURSERIES)]
    free: queue.SimpleQueue[Nursery] = queue.SimpleQueue()
    for nursery in found:
        free.put(nursery)
    yield free
    for nursery in found:
        nursery.close()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a SQLite database of today's schema, and what a writer left who was killed long ago."""
    home = tmp_path_factory.mktemp("template")
    with opened(f"sqlite:///{home / 'axo.db'}"):
        pass
    (home / "settings.yaml").write_text("reports: {url: 'unix:///nowhere/reports.sock'}\n")
    (home / "tickets.jsonl").write_text('{"text": "It is late", "queue": "delivery"}\n')
    (home / LEFT).parent.mkdir(parents=True)
    (home / LEFT).touch()
    os.utime(home / LEFT, (0, 0))
    return home


@dataclass
class Trials:
    """Homes to die in, and what must be true of each once somebody has lived to the end."""

    nurseries: queue.SimpleQueue[Nursery]
    template: Path
    folder: Path
    postgres: Postgres | None = None
    deaths: list[tuple[str, Death]] = field(default_factory=list)

    def one(self, flow: str, *deaths: Death) -> Path:
        """Die each of these deaths, then live to the end; the home."""
        nursery = self.nurseries.get()
        home = self.folder / f"{flow}-{random.getrandbits(64):x}"
        try:
            shutil.copytree(self.template, home)
            url = make_database(self.postgres) if self.postgres else f"sqlite:///{home / 'axo.db'}"
            (home / "database").write_text(url)
            for flag in FLOWS[flow].flags:
                (home / flag).touch()
            for death in deaths:
                if not nursery.live(home, flow, death):
                    self.deaths.append((flow, death))
                    _let_the_lease_run_out(home)
            assert nursery.live(home, flow)
            check(home, flow)
            if self.postgres:
                drop_database(self.postgres, url)
        except AssertionError as error:
            raise AssertionError(f"{flow}, {deaths}, {home}: {error}") from error
        finally:
            self.nurseries.put(nursery)
        return home


@dataclass(frozen=True)
class Whole:
    """What lives that nothing cut short are like: the points of each flow, how many boundaries with a change
    it reaches, and how many seconds it takes."""

    points: dict[str, list[str]]
    reached: dict[str, int]
    seconds: dict[str, float]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    """What kind of database they live with."""
    return str(request.param)


@pytest.fixture
def trials(
    request: pytest.FixtureRequest,
    kind: str,
    nurseries: queue.SimpleQueue[Nursery],
    template: Path,
    tmp_path: Path,
) -> Trials:
    postgres = request.getfixturevalue("postgres") if kind == "postgresql" else None
    return Trials(nurseries, template, tmp_path, postgres)


@pytest.fixture(scope="module")
def whole(
    request: pytest.FixtureRequest,
    kind: str,
    nurseries: queue.SimpleQueue[Nursery],
    template: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Whole:
    postgres = request.getfixturevalue("postgres") if kind == "postgresql" else None
    trials = Trials(nurseries, template, tmp_path_factory.mktemp("whole"), postgres)
    found = Whole({}, {}, {})
    for flow in FLOWS:
        began = time.monotonic()
        home = trials.one(flow)
        found.seconds[flow] = time.monotonic() - began
        found.points[flow] = (home / "boundaries").read_text().splitlines()
        found.reached[flow] = int((home / "reached").read_text())
    return found


def _let_the_lease_run_out(home: Path) -> None:
    """The dead held it, and the proof need not wait for its ten seconds."""
    with opened((home / "database").read_text(), 1) as database, database.writing() as connection:
        connection.execute(t.leases.update().values(expires=0.0))


def all_of(work: list[Callable[[], object]]) -> None:
    """Everything, whatever becomes of one of it; then what went wrong, at once."""
    with ThreadPoolExecutor(NURSERIES) as pool:
        errors = [error for done in [pool.submit(each) for each in work] if (error := done.exception())]
    assert not errors, "\n\n".join(map(str, errors))


def test_a_nursery_outlives_names_that_cannot_be_imported(tmp_path: Path) -> None:
    (tmp_path / "imported").write_text("psycopg_binary\nmade_by_cython\npsycopg\nhalf_writ")
    learning = "import pathlib, sys, nursery; nursery._learn(pathlib.Path(sys.argv[1])); print(*sys.modules)"
    command = [sys.executable, "-c", learning, str(tmp_path)]
    told = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    assert "psycopg" in told.stdout.split(), told.stderr


def test_no_boundary_is_forgotten(whole: Whole) -> None:
    """Every way to change something, in each seam and by each function's text, is reached by some flow."""
    points = {point for names in whole.points.values() for point in names}
    named = set().union(
        *(changing(kind) for kind in (Database, FileStore, LocalBackend, TrackerTwin, RegistryTwin))
    )
    acts = {_act(point) for point in points}
    assert named - acts == set(), "no flow gets to these"
    functions = {point.partition(" in ")[2].partition(" for ")[0] for point in points}
    assert taking_steps() - functions == set(), "no flow gets to these"


def test_each_point_is_survived(trials: Trials, whole: Whole, kind: str) -> None:
    seen: set[str] = set()
    work: list[Callable[[], object]] = []
    for flow, names in whole.points.items():
        fresh = [name for name in names if name not in seen]
        every = [name for name in names if name in fresh or not _reads(name)]
        some = [name for name in fresh if not _reads(name)]
        needed = [name for name in some if name.partition(" for ")[0] in NEEDED]
        chosen = every if PROVE else sorted({*some[:: EVERY[kind]], *needed})
        seen.update(names)
        work += [partial(trials.one, flow, Death(name)) for name in chosen]
    all_of(work)
    died = {death.name for _, death in trials.deaths}
    print(
        f"\n{len(trials.deaths)} deaths of {len(work)} at {len(died)} of {len(seen)} points in"
        f" {len(whole.points)} flows: nothing lost, nothing doubled"
    )
    assert {str(name).partition(" for ")[0] for name in died} >= NEEDED
    assert len(trials.deaths) > 0.9 * len(work), f"not reached again: {sorted(seen - died)}"


def test_random_deaths_are_survived(trials: Trials, whole: Whole, kind: str) -> None:
    seed = int(os.environ.get("AXO_SEED", "0")) or random.getrandbits(32)
    chance = random.Random(seed)
    runs = 0
    while len(trials.deaths) < DEATHS[kind]:
        work: list[Callable[[], object]] = []
        for _ in range(min(50, DEATHS[kind])):
            flow = chance.choice(list(FLOWS))
            deaths = [_drawn(chance, whole, flow) for _ in range(chance.choice((1, 1, 2, 3)))]
            work.append(partial(trials.one, flow, *deaths))
        all_of(work)
        runs += len(work)
    by_clock = sum(death.seconds is not None for _, death in trials.deaths)
    print(
        f"\n{len(trials.deaths)} deaths at random, {by_clock} of them at any moment, in {runs} homes"
        f" (seed {seed}): nothing lost, nothing doubled"
    )


def _act(point: str) -> str:
    """The seam's method that a point belongs to."""
    text = point.partition(" for ")[0]
    for words in ("before the commit of ", "after the commit of ", "before ", "after "):
        text = text.removeprefix(words)
    return text


def _reads(point: str) -> bool:
    """A death beside a read is one after the change before it, so one in all is enough."""
    return " reading " in point


def _drawn(chance: random.Random, whole: Whole, flow: str) -> Death:
    """At a boundary, early ones more often: most of the late ones are waiting; or at any moment."""
    early = chance.random() ** 2
    if chance.random() < 0.3:
        return Death(seconds=early * whole.seconds[flow])
    return Death(count=1 + int(whole.reached[flow] * early))
