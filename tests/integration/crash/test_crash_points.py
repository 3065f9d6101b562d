"""The service dies at every boundary, and whoever comes after it brings each run to its one right end.

Every third point once in `scripts/test`, those around a launch among them, and fewer over PostgreSQL; with
AXO_PROVE every point of every flow and 2,000 deaths at random, over each kind of database.
"""

from __future__ import annotations

import json
import os
import queue
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import sqlalchemy as sa
from databases import Postgres, make_database
from twins import heard

from orchestrator import contract
from orchestrator.db import opened
from orchestrator.db import tables as t
from orchestrator.runs import Status

HERE = Path(__file__).parent
PROVE = bool(os.environ.get("AXO_PROVE"))
DEATHS = {
    "sqlite": int(os.environ.get("AXO_DEATHS", "2000" if PROVE else "10")),
    "postgresql": int(os.environ.get("AXO_DEATHS", "2000" if PROVE else "3")),
}
EVERY = {"sqlite": 3, "postgresql": 15}  # of how many points one is taken
NURSERIES = 3
READS = {
    *(
        f"database.{name}"
        for name in ("run", "launches", "attempts", "points", "points_to_ship", "publications")
    ),
    *(f"database.{name}" for name in ("due", "to_tell", "runs", "reached", "newest_point", "check_lease")),
    *(f"storage.{name}" for name in ("read", "keys", "get")),
    *("backend.observe", "RegistryTwin.verify"),
}
NEEDED = {"before backend.spawn", "after backend.spawn", "after the commit of database.add_launch"}
# How each flow ends, and how many launches it takes.
FLOWS = {
    "submit": (Status.SUCCEEDED, 2),
    "publish": (Status.SUCCEEDED, 2),
    "evicted": (Status.SUCCEEDED, 3),
    "cancel": (Status.CANCELLED, 2),
    "pause": (Status.SUCCEEDED, 3),
    "report": (Status.SUCCEEDED, 2),
    "delete": (Status.SUCCEEDED, 2),
}

# What has a flow's training hold still, or kill itself.
FLAGS = {"evicted": "evict", "cancel": "hold", "pause": "hold", "report": "hold"}


@dataclass
class Nursery:
    """A process that forks services and tells how each ended."""

    process: subprocess.Popen[str] = field(
        default_factory=lambda: subprocess.Popen(
            [sys.executable, str(HERE / "nursery.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    )

    def live(self, home: Path, flow: str, name: str | None = None, count: int | None = None) -> bool:
        """One life; whether it got to its end (else it was killed)."""
        assert self.process.stdin
        assert self.process.stdout
        trial = {"home": str(home), "flow": flow, "name": name, "count": count}
        self.process.stdin.write(json.dumps(trial) + "\n")
        self.process.stdin.flush()
        ended = json.loads(self.process.stdout.readline())
        assert not isinstance(ended, str), f"{flow} {name or count}: {ended}"
        return ended is None

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(10)
        assert self.process.stdout
        self.process.stdout.close()


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
    """A home with a SQLite database of today's schema and nothing in it."""
    home = tmp_path_factory.mktemp("template")
    with opened(f"sqlite:///{home / 'axo.db'}"):
        pass
    (home / "settings.yaml").write_text("reports: {url: 'unix:///nowhere/reports.sock'}\n")
    (home / "tickets.jsonl").write_text('{"text": "It is late", "queue": "delivery"}\n')
    return home


@dataclass
class Trials:
    """Homes to die in, and what must be true of each once somebody has lived to the end."""

    nurseries: queue.SimpleQueue[Nursery]
    template: Path
    folder: Path
    postgres: Postgres | None = None
    deaths: list[str] = field(default_factory=list)

    def one(self, flow: str, name: str | None = None, counts: tuple[int, ...] = ()) -> Path:
        """Die at the point, or at the n-th boundary of each life, then live to the end; the home."""
        nursery = self.nurseries.get()
        home = self.folder / f"{flow}-{random.getrandbits(64):x}"
        try:
            shutil.copytree(self.template, home)
            url = make_database(self.postgres) if self.postgres else f"sqlite:///{home / 'axo.db'}"
            (home / "database").write_text(url)
            if flag := FLAGS.get(flow):
                (home / flag).touch()
            for count in counts or ((None,) if name else ()):
                if not nursery.live(home, flow, name, count):
                    self.deaths.append(f"{flow} {name or count}")
                    _let_the_lease_run_out(home)
            assert nursery.live(home, flow)
            self.check_deleted(home) if flow == "delete" else self.check(home, flow)
        except AssertionError as error:
            raise AssertionError(f"{flow}, {name or counts}: {error}") from error
        finally:
            self.nurseries.put(nursery)
        return home

    def check(self, home: Path, flow: str) -> None:
        status, launches = FLOWS[flow]
        with opened((home / "database").read_text()) as database:
            (run,) = database.runs()
            assert run.status is status, f"{run.status} {run.reason} {run.message}"
            decided = [launch.number for launch in database.launches(run.id)]
            steps = [point.step for point in database.points(run.id, "loss")]
            published = database.publications(run.id)
        answers = set((home / "answers").read_text().split())
        assert answers == {run.id}, f"a repeated submission was answered with {answers}"
        starts = _starts(home)
        assert [int(number) for number, _ in starts] == decided == list(range(1, launches + 1))
        assert not [pid for _, pid in starts if _alive(int(pid))], "a launch outlives its run"
        assert steps == [1, 2, 3, 4, 5]
        said = heard(home)
        points = {tuple(point) for each in said if each["kind"] == "points" for point in each["points"]}
        assert sorted(step for _, step, *_ in points) == steps, "MLflow lacks a point, or has two for a step"
        assert said[-1] == {"kind": "end", "run": f"mlflow-{run.id}", "status": _ENDS[status]}
        folder = contract.open_store((home / "storage").as_uri()).below(f"runs/{run.id}")
        assert contract.verify_folder(folder, "adapter") == [], "nobody may lose what was trained"
        versions = [each for each in said if each["kind"] == "version"]
        assert len(versions) == len(published) == (1 if flow == "publish" else 0)
        shutil.rmtree(home / "storage")

    def check_deleted(self, home: Path) -> None:
        """Nothing of the run is left but that it was there, and MLflow knows how it ended."""
        (run,) = set((home / "answers").read_text().split())
        with opened((home / "database").read_text()) as database:
            assert database.deleted_run(run) is not None
            assert database.removals() == []
            with database.reading() as connection:
                tables = [table for table in t.metadata.sorted_tables if "run" in table.c]
                left = {table.name: connection.execute(sa.select(table)).all() for table in tables}
            assert [name for name, rows in left.items() if rows] == ["requests"]
            assert [each.change.action for each in database.changes(limit=9)].count("run.delete") == 1
        assert list((home / "storage").glob("runs/*")) == []
        assert list((home / "local").glob("triage-*")) == [], "the backend still holds a launch of it"
        assert (home / "storage/inputs/input.json").exists(), "what others may use stays"
        assert not [line for line in _starts(home) if _alive(int(line[1]))]
        assert heard(home)[-1] == {"kind": "end", "run": f"mlflow-{run}", "status": "FINISHED"}
        shutil.rmtree(home / "storage")


def _starts(home: Path) -> list[list[str]]:
    return [line.split() for line in (home / "starts").read_text().splitlines()]


_ENDS = {Status.SUCCEEDED: "FINISHED", Status.CANCELLED: "KILLED"}


@pytest.fixture(params=["sqlite", "postgresql"])
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


def _let_the_lease_run_out(home: Path) -> None:
    """The dead held it, and the proof need not wait for its ten seconds."""
    with opened((home / "database").read_text(), 1) as database, database.writing() as connection:
        connection.execute(t.leases.update().values(expires=0.0))


def _alive(pid: int) -> bool:
    """A zombie, which its dead parent's parent has yet to bury, is not alive."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def all_of(work: list[Callable[[], object]]) -> None:
    with ThreadPoolExecutor(NURSERIES) as pool:
        for done in [pool.submit(each) for each in work]:
            done.result()


def _reads(point: str) -> bool:
    """A death beside a read is one after the write before it; so `scripts/test` leaves it out."""
    return point.partition(" ")[2] in READS


def points_of(trials: Trials) -> dict[str, list[str]]:
    """The boundaries that each flow reaches."""
    homes = {flow: trials.one(flow) for flow in FLOWS}
    return {flow: (home / "boundaries").read_text().splitlines() for flow, home in homes.items()}


def test_each_point_is_survived(trials: Trials, kind: str) -> None:
    points = points_of(trials)
    seen: set[str] = set()
    work: list[Callable[[], object]] = []
    for flow, names in points.items():
        fresh = [name for name in names if name not in seen and not _reads(name)]
        chosen = names if PROVE else sorted({*fresh[:: EVERY[kind]], *NEEDED.intersection(fresh)})
        seen.update(names)
        work += [lambda flow=flow, name=name: trials.one(flow, name) for name in chosen]  # type: ignore[misc]
    all_of(work)
    died = {death.partition(" ")[2] for death in trials.deaths}
    print(
        f"\n{len(trials.deaths)} deaths at {len(died)} of {len(seen)} points: nothing lost, nothing doubled"
    )
    assert died >= NEEDED
    assert len(trials.deaths) > 0.9 * len(work), f"not reached again: {sorted(seen - died)}"


def test_random_deaths_are_survived(trials: Trials, kind: str) -> None:
    reached = {flow: int((trials.one(flow) / "reached").read_text()) for flow in FLOWS}
    seed = int(os.environ.get("AXO_SEED", "0")) or random.getrandbits(32)
    chance = random.Random(seed)
    runs = 0
    while len(trials.deaths) < DEATHS[kind]:
        work: list[Callable[[], object]] = []
        for _ in range(min(10, DEATHS[kind])):
            flow = chance.choice(list(FLOWS))
            counts = tuple(_early(chance, reached[flow]) for _ in range(chance.choice((1, 1, 2, 3))))
            work.append(lambda flow=flow, counts=counts: trials.one(flow, counts=counts))  # type: ignore[misc]
        all_of(work)
        runs += len(work)
    print(f"\n{len(trials.deaths)} deaths at random in {runs} runs (seed {seed}): nothing lost or doubled")


def _early(chance: random.Random, reached: int) -> int:
    """The n-th boundary, early ones more often: most of the late ones are waiting."""
    return 1 + int(reached * chance.random() ** 2)
