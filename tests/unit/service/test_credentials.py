"""Every route, with every method and every kind of credential: who gets in, and who does not.

A new route must be declared in `DOORS`; the matrix is walked from the application's own routes.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from stored_run import DATASET, SPEC, store_run

from orchestrator import wire
from orchestrator.access.keys import make_key
from orchestrator.api.app import make_app
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.controller.report import token_digest
from orchestrator.db import tables, transactions
from orchestrator.errors import DatabaseError
from orchestrator.host import Host, open_host
from orchestrator.runs import Status
from orchestrator.service import Access, Caller, Role
from orchestrator.settings import Settings

TOKEN = "axo-report-" + "t" * 43
NOW, DAY = 1_000_000.0, 86_400.0
RUN, DATA = "triage-aaaaa", b"text\n"
SHA256 = hashlib.sha256(DATA).hexdigest()
MAPPING = {"text": "conversation: {column: messages}\n"}
REPORT = {"launch": 1, "attempt": 2}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PUBLISHED = SPEC + "publish:\n  - mlflow: {model: triage}\n"
REMOTE = SPEC.replace("source: tickets.jsonl", "source: hf://org/tickets@0123abc")


@dataclass(frozen=True)
class Door:
    """Who may come in by a route: nobody asks (`role` None), or from which role on.

    `good` is the answer to them, `theirs` that to an admin of another project. `records` tells whether
    it goes into the audit log; `status` is what state the run is in. `launch` says that it is there for
    launches, and for no person.
    """

    role: Role | None
    good: int = 200
    theirs: int = 404
    body: object = None
    content: bytes | None = None
    records: bool = False
    status: Status = Status.SUCCEEDED
    before: Callable[[Host], object] = lambda _: None
    launch: bool = False


def announced(host: Host) -> None:
    host.service.files.begin(Caller("ours"), wire.FileAsked(sha256=SHA256, size=len(DATA)))


def pinned(host: Host) -> None:
    host.service.keeping.pin(Caller("ours"), RUN, pinned=True)


def sent(host: Host) -> None:
    announced(host)
    host.service.files.put(Caller("ours"), SHA256, 0, DATA)


def finished(host: Host) -> None:
    sent(host)
    host.service.files.finish(Caller("ours"), SHA256)


def held_back(host: Host) -> None:
    with host.service.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE runs SET status = 'failed', reason = 'registry_refused'")


def shared(host: Host) -> None:
    host.service.mappings.put(Caller("ours"), "tickets", wire.MappingAsked(**MAPPING))


def held(host: Host) -> None:
    with host.service.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE datasets SET deleted = NULL")


VIEW = Door(Role.VIEWER)
WANT = Door(Role.SUBMITTER, good=202, records=True, status=Status.TRAINING)
DOORS = {
    "GET /healthz": Door(None, theirs=200),
    "GET /readyz": Door(None, theirs=200),
    "GET /metrics": replace(VIEW, theirs=200),
    "GET /api/v1/openapi.json": replace(VIEW, theirs=200),
    "GET /api/v1/runs": replace(VIEW, theirs=200),
    "POST /api/v1/runs": Door(
        Role.SUBMITTER, good=202, theirs=202, body={"spec": REMOTE, "file": "spec.yaml"}, records=True
    ),
    "GET /api/v1/runs/{run}": VIEW,
    "DELETE /api/v1/runs/{run}": Door(Role.SUBMITTER, records=True),
    "GET /api/v1/runs/{run}/attempts": VIEW,
    "GET /api/v1/runs/{run}/events": VIEW,
    "GET /api/v1/runs/{run}/metrics": VIEW,
    "GET /api/v1/runs/{run}/logs": VIEW,
    "GET /api/v1/runs/{run}/config": VIEW,
    "GET /api/v1/runs/{run}/events/stream": VIEW,
    "GET /api/v1/runs/{run}/logs/stream": VIEW,
    "GET /api/v1/runs/{run}/adapter": VIEW,
    "GET /api/v1/runs/{run}/adapter/{path:path}": VIEW,
    "GET /api/v1/runs/{run}/verify": replace(VIEW, good=503),  # there is no MLflow to ask
    "POST /api/v1/runs/{run}/cancel": WANT,
    "POST /api/v1/runs/{run}/pin": Door(Role.SUBMITTER, records=True),
    "POST /api/v1/runs/{run}/unpin": Door(Role.SUBMITTER, records=True, before=pinned),
    "POST /api/v1/runs/{run}/pause": WANT,
    "POST /api/v1/runs/{run}/resume": WANT,
    "POST /api/v1/runs/{run}/clone": Door(Role.SUBMITTER, good=422, body={"name": "x-2"}),  # a local path
    "POST /api/v1/runs/{run}/publish": replace(WANT, status=Status.SUCCEEDED, before=held_back),
    "POST /api/v1/plans": Door(Role.SUBMITTER, good=422, theirs=422, body={"spec": "name: x"}),  # a poor spec
    "GET /api/v1/machines": replace(VIEW, theirs=200),
    "GET /api/v1/registries": replace(VIEW, theirs=200),
    "GET /api/v1/datasets": replace(VIEW, theirs=200),
    "GET /api/v1/datasets/{digest}": VIEW,
    "DELETE /api/v1/datasets/{digest}": Door(Role.SUBMITTER, good=204, before=held, records=True),
    "GET /api/v1/models": replace(VIEW, theirs=200),
    "GET /api/v1/files": replace(VIEW, theirs=200),
    "POST /api/v1/files": Door(
        Role.SUBMITTER, good=202, theirs=202, body={"sha256": SHA256, "size": len(DATA)}, records=True
    ),
    "GET /api/v1/files/{sha256}": replace(VIEW, before=announced),
    "PUT /api/v1/files/{sha256}/parts/{part}": Door(Role.SUBMITTER, good=204, content=DATA, before=announced),
    "POST /api/v1/files/{sha256}/finish": Door(Role.SUBMITTER, before=sent, records=True),
    "DELETE /api/v1/files/{sha256}": Door(Role.SUBMITTER, good=204, before=announced, records=True),
    "GET /api/v1/mappings": replace(VIEW, theirs=200),
    "GET /api/v1/mappings/{name}": replace(VIEW, before=shared),
    "PUT /api/v1/mappings/{name}": Door(Role.SUBMITTER, theirs=200, body=MAPPING, records=True),
    "DELETE /api/v1/mappings/{name}": Door(Role.SUBMITTER, good=204, before=shared, records=True),
    "GET /api/v1/keys": Door(Role.ADMIN, theirs=200),
    "POST /api/v1/keys": Door(
        Role.ADMIN, good=201, theirs=201, body={"name": "ci", "role": "admin"}, records=True
    ),
    "DELETE /api/v1/keys/{key}": Door(Role.ADMIN, records=True),
    "PUT /api/v1/reports/{run}/{launch}/{attempt}": Door(
        Role.ADMIN, launch=True, theirs=401, content=b"", status=Status.TRAINING
    ),
}

# Where more than one step of a change could be seen, were it not one transaction.
_STEPS = {"DELETE /api/v1/files/{sha256}": finished}


class World:
    """A service with two projects, and a holder of each kind of credential."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.app = make_app(host.service, Access(host.service.database, lambda: NOW))
        self.http = httpx.Client(base_url="http://localhost", transport=EmbeddedTransport(self.app))
        self.ours = {role: self.key("ours", role) for role in Role}
        self.theirs = self.key("theirs", Role.ADMIN)
        self.victim = self.key("ours", Role.VIEWER)
        host.service.database.let_report(RUN, 1, token_digest(TOKEN))

    def key(self, project: str, role: Role, days: int = 365) -> wire.FreshKey:
        asked = wire.KeyAsked(name=role.label, role=role.label, days=days)  # type: ignore[arg-type]
        return self.host.service.keys.create(Caller(project, name="setup"), asked)

    def strangers(self) -> dict[str, str | None]:
        """The `Authorization` of everybody whom no door but an open one lets in."""
        revoked = self.key("ours", Role.ADMIN)
        self.host.service.keys.revoke(Caller("ours"), revoked.id)
        expired = self.key("ours", Role.ADMIN)
        with self.host.service.database.engine.begin() as connection:
            connection.exec_driver_sql(f"UPDATE keys SET expires = {NOW} WHERE id = '{expired.id}'")
        admin = self.ours[Role.ADMIN]
        return {
            "none": None,
            "nothing": "Bearer nothing",
            "empty": "Bearer ",
            "another scheme": f"Basic {admin.key}",
            "no scheme": admin.key,
            "the id": f"Bearer {admin.id}",
            "never made": f"Bearer {make_key().text}",
            "another's secret": f"Bearer {make_key().text.replace('_', f'_{admin.id}', 1)}",
            "cut": f"Bearer {admin.key[:-1]}",
            "expired": f"Bearer {expired.key}",
            "revoked": f"Bearer {revoked.key}",
            "a launch": f"Bearer {TOKEN}",
        }

    def ask(self, door: Door, method: str, path: str, authorization: str | None) -> httpx.Response:
        door.before(self.host)
        path = path.replace(":path}", "}")
        filled = path.format(
            run=RUN,
            path="adapter_config.json",
            sha256=SHA256,
            part=0,
            key=self.victim.id,
            name="tickets",
            digest=DATASET,
            **REPORT,
        )
        headers = {"Authorization": authorization} if authorization is not None else {}
        query = {"offset": "0"} if door.launch else None
        return self.http.request(
            method, filled, headers=headers, json=door.body, content=door.content, params=query
        )


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[Callable[[Status], World]]:
    (tmp_path / "python").touch()
    settings = Settings.from_environment(
        {"AXO_HOME": str(tmp_path), "AXO_TRAINER_PYTHON": str(tmp_path / "python")}
    )
    with open_host(settings, lambda: NOW) as host, contextlib.ExitStack() as opened:

        def make(status: Status) -> World:
            store_run(tmp_path, RUN, text=PUBLISHED, project="ours", status=status)
            plan = tmp_path / f"storage/runs/{RUN}/launches/1/axolotl.yaml"
            plan.parent.mkdir(parents=True, exist_ok=True)
            plan.write_text("base_model: x\n")
            world = World(host)
            opened.enter_context(world.http)
            return world

        yield make


def routes_of(app: FastAPI) -> set[str]:
    return {f"{method} {route.path}" for route in leaves(app.routes) for method in route.methods - {"HEAD"}}


def leaves(routes: Iterable[Any]) -> Iterator[Any]:
    """The routes themselves, out of the routers that FastAPI keeps among them."""
    for route in routes:
        inner = getattr(route, "effective_candidates", None)
        yield from leaves(inner()) if inner else [route]


def test_every_route_is_declared(make_world: Callable[[Status], World]) -> None:
    found = routes_of(make_world(Status.SUCCEEDED).app)
    assert found == set(DOORS), "declare in DOORS who may use a new route, and take away those that are gone"


@pytest.mark.parametrize("route", DOORS)
def test_a_route_lets_in_whom_it_should(make_world: Callable[[Status], World], route: str) -> None:
    door = DOORS[route]
    method, path = route.split()
    world = make_world(door.status)
    asked = 0
    for name, authorization in world.strangers().items():
        answer = world.ask(door, method, path, authorization)
        known = door.role is None or (door.launch and name == "a launch")
        assert answer.status_code == (200 if known else 401), name
        asked += 1
    for role in Role:
        before = world.host.service.database.verify_changes().rows
        answer = world.ask(door, method, path, f"Bearer {world.ours[role].key}")
        allowed = door.role is None or role >= door.role
        refused = 401 if door.launch else door.good if allowed else 403
        assert answer.status_code == refused, (role, answer.text)
        asked += 1
        if role is door.role:
            found = world.host.service.database.changes(limit=10)
            requests = [each.change.request for each in found if each.id > before and each.change.request]
            assert requests == ([answer.headers["x-request-id"]] if door.records else [])
    answer = world.ask(door, method, path, f"Bearer {world.theirs.key}")
    assert answer.status_code == door.theirs, answer.text
    assert RUN not in answer.text.replace(f"'{RUN}'", "")
    assert world.victim.id not in answer.text.replace(f"'{world.victim.id}'", "")
    assert asked == 15
    assert world.host.service.database.verify_changes().broken is None


@pytest.mark.parametrize("route", [route for route, door in DOORS.items() if door.records])
def test_nothing_is_changed_without_its_line_in_the_audit_log(
    make_world: Callable[[Status], World], route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, path = route.split()
    door = DOORS[route]
    world = make_world(door.status)
    admin = f"Bearer {world.ours[Role.ADMIN].key}"
    world.ask(Door(None), "GET", "/api/v1/runs", admin)  # when a key was used is noted with its first use
    _STEPS.get(route, door.before)(world.host)
    before = contents(world.host)
    door = replace(door, before=lambda _: None)

    def lost(*_: object) -> None:
        raise DatabaseError("lost before the line was written")

    with monkeypatch.context() as patched:
        patched.setattr(transactions, "append", lost)
        assert world.ask(door, method, path, admin).status_code == 503
    assert contents(world.host) == before
    assert world.ask(door, method, path, admin).status_code == door.good
    assert contents(world.host) != before


def contents(host: Host) -> dict[str, list[Any]]:
    """All rows of all tables."""
    with host.service.database.reading() as connection:
        return {
            table.name: connection.execute(table.select()).all() for table in tables.metadata.sorted_tables
        }


def test_a_method_that_is_not_there_tells_nothing_to_strangers(make_world: Callable[[Status], World]) -> None:
    world = make_world(Status.TRAINING)
    declared = routes_of(world.app)
    admin = f"Bearer {world.ours[Role.ADMIN].key}"
    missing = [
        (method, path)
        for path in sorted({route.split()[1] for route in declared})
        for method in METHODS
        if f"{method} {path}" not in declared
    ]
    for method, path in [*missing, ("GET", "/api/v1/nowhere"), ("GET", "/")]:
        open_, launches = path in ("/healthz", "/readyz"), path.startswith("/api/v1/reports/")
        stranger = world.ask(Door(None), method, path, None)
        assert stranger.status_code == (405 if open_ else 401), (method, path)
        known = world.ask(Door(None), method, path, f"Bearer {TOKEN}" if launches else admin)
        assert known.status_code in (404, 405) or (method == "HEAD" and known.status_code == 200), (
            method,
            path,
        )
    assert len(missing) > 100
