"""The API over PostgreSQL with fsync: submissions at a rate, pages of many runs, growth.

Load and service share the machine. Each figure stands beside its goal.
"""

from __future__ import annotations

import asyncio
import json
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import sqlalchemy as sa
from postgres_server import postgres_server

from benches._load import Load, percentile
from benches._measure import machine
from benches._program import Program, program, service_variables
from benches._spec import SPEC
from orchestrator.db import Attempt, Database, Point, opened
from orchestrator.service.runs import MAX_PAGE

EVENTS = """
    INSERT INTO events (run, time, status, message)
    SELECT :run, n, 'training', '' FROM generate_series(1, :count) n
"""
LINES = 64
EACH = 100
POINTS = 100_000
PAGES = {
    "newest": "",
    "newest of 500": "limit=500",
    "deep": "cursor={middle}",
    "failed": "status=failed",
    "running (none)": "status=training&status=evaluating",
    "one name": "name=triage-7",
    "one name, failed": "name=triage-7&status=failed",
    "no such name": "name=nothing",
}


def main(arguments: Sequence[str]) -> None:
    parser = ArgumentParser(prog="scripts/bench service", description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000, help="Runs that a page is taken of; 2 at least.")
    parser.add_argument("--seconds", type=float, default=20, help="How long submissions are sent.")
    options = parser.parse_args(arguments)
    with (
        TemporaryDirectory(prefix="axo-bench-service-") as home,
        postgres_server(durable=True) as server,
        opened(server.url()) as database,
    ):
        print(f"machine: {machine()}")
        with program("_serving", service_variables(Path(home), server.url())) as process:
            service = _Service(int(process.said().rpartition(":")[2]), process)
            _submissions(service, options.seconds)
            _pages(service, database, options.runs)
        _growth(database)


@dataclass(frozen=True)
class _Service:
    """A service whose runs nobody drives, in a process of its own."""

    port: int
    process: Program


def _submissions(service: _Service, seconds: float) -> None:
    body = json.dumps({"spec": SPEC}).encode()

    def request() -> bytes:
        head = (
            f"POST /api/v1/runs HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Idempotency-Key: {uuid4().hex}\r\n\r\n"
        )
        return head.encode() + body

    print(f"POST /runs, a run each, {seconds:g} s at each rate over {LINES} connections")
    asyncio.run(Load(service.port).at_rate(request, 50, min(seconds, 5), LINES))  # what is compiled once
    for rate, goals in ((100, ("15", "60", "100")), (300, ("-", "-", "300"))):
        load, before = Load(service.port), service.process.processor_seconds()
        elapsed = asyncio.run(load.at_rate(request, rate, seconds, LINES))
        accepted = (len(load.took) - len(load.refused)) / elapsed
        processor = (service.process.processor_seconds() - before) / len(load.took) * 1000
        print(
            f"  {rate}/s sent: p50 {percentile(load.took, 50):.1f} ms (goal {goals[0]}), "
            f"p99 {percentile(load.took, 99):.1f} ms (goal {goals[1]}), "
            f"{accepted:.0f}/s accepted (goal {goals[2]}), "
            f"{processor:.1f} ms of a processor each, {len(load.refused)} refused {load.refused[:1]}"
        )


def _pages(service: _Service, database: Database, runs: int) -> None:
    _fill(database, runs)
    middle = _middle(database, runs)
    print(f"GET /runs of {runs:,} runs, 2 readers, {2 * EACH} pages of each kind")
    all_took: list[float] = []
    for name, query in PAGES.items():
        path = f"/api/v1/runs?{query.format(middle=middle)}"
        load = Load(service.port)
        request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\n\r\n".encode()
        asyncio.run(load.in_turn(request, readers=2, each=EACH))
        all_took += load.took
        told = f"p50 {percentile(load.took, 50):6.1f} ms  p99 {percentile(load.took, 99):6.1f} ms"
        print(f"  {name:<18} {told}  {len(load.refused)} refused {load.refused[:1]}")
    print(f"  {'all of them':<18} p99 {percentile(all_took, 99):.1f} ms (goal 100)")


def _fill(database: Database, runs: int) -> None:
    """As many runs as are asked for, made from one that was submitted: a twentieth failed, the rest done."""
    query = """
        INSERT INTO runs SELECT made.* FROM (SELECT * FROM runs LIMIT 1) r, generate_series(1, :runs) n,
        LATERAL jsonb_populate_record(NULL::runs, to_jsonb(r) || jsonb_build_object(
            'id', 'triage-' || n % 50 || '-' || lpad(n::text, 8, '0'), 'name', 'triage-' || n % 50,
            'status', CASE n % 20 WHEN 0 THEN 'failed' ELSE 'succeeded' END, 'look', NULL,
            'created', r.created - n, 'ended', r.created,
            'facts', (SELECT jsonb_build_object('d', jsonb_agg(md5(n || '-' || m)))
                      FROM generate_series(1, 20) m)
        )) made
    """
    with database.writing() as connection:
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.text("DELETE FROM requests"))
        connection.execute(sa.text("DELETE FROM events"))
        connection.execute(sa.text("DELETE FROM runs WHERE id <> (SELECT id FROM runs LIMIT 1)"))
        connection.execute(sa.text(query), {"runs": runs - 1})
    with database.reading() as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))


def _middle(database: Database, runs: int) -> str:
    """The cursor of a page halfway down."""
    cursor: str | None = None
    for above in range(runs // 2, 0, -MAX_PAGE):
        _, cursor = database.page("default", limit=min(above, MAX_PAGE), cursor=cursor)
    assert cursor is not None, "two runs at least have a middle"
    return cursor


def _growth(database: Database) -> None:
    """What points and events cost: rows a second, bytes each, and a page of events far down."""
    run = database.runs(1)[0].id
    state, began = Attempt(1, 1), time.perf_counter()
    for part in range(POINTS // 200):
        steps = range(part * 100, part * 100 + 100)
        points = [Point(key, step, 1 / (step + 1), 1e9 + step) for step in steps for key in ("loss", "lr")]
        after = Attempt(1, 1, state.offset + 200)
        database.take_in(run, state, after, points)
        state = after
    rate = POINTS / (time.perf_counter() - began)
    began = time.perf_counter()
    while waiting := database.points_to_ship(run, 1000):
        database.mark_shipped(run, waiting)
    shipped = POINTS / (time.perf_counter() - began)
    with database.reading() as connection:
        size = connection.scalar(sa.text("SELECT pg_total_relation_size('points')")) or 0
        connection.execute(sa.text(EVENTS), {"run": run, "count": 10_000})
    took = []
    for after_event in range(0, 10_000, 100):
        began = time.perf_counter()
        database.events(run, after_event, 100)
        took.append(time.perf_counter() - began)
    bytes_each = f"{size / POINTS:.0f} bytes each with indexes"
    print(f"points: {rate:,.0f}/s taken in, {shipped:,.0f}/s shipped, {bytes_each}")
    print(f"events after an id, 100 of 10,000: p99 {percentile(took, 99):.1f} ms")
