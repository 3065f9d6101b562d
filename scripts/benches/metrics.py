"""Metrics of many runs that train at once, from their reports to MLflow: how many requests, how late.

Each run reports a step a second with two values, as a trainer does: over HTTP, as often as the service
would hear of it. MLflow is a recording twin, or with --real a real server behind one. All share the machine.
Goals stand in brackets; run it on a machine that does nothing else.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from postgres_server import postgres_server

from benches._measure import machine
from benches._program import children, processor_seconds, program
from orchestrator import mlflow_server
from orchestrator.contract import Record, Taken, report_path
from orchestrator.controller.report import token_digest
from orchestrator.controller.track import CREATED
from orchestrator.db import Database, Run, opened
from orchestrator.runs import Status
from orchestrator.spec.load import parse_spec

SPEC = b"""\
name: triage
base_model: acme/base
dataset: {source: "hf://acme/tickets/default/train"}
mapping: {messages: [{role: assistant, content: "{{ queue }}"}]}
"""
TOKEN = "a token of "
LINES = 32  # of a thousand runs
WARM_SECONDS = 30.0  # all runs begin at once; by then each has its turn
DRAIN_SECONDS, CREATE_SECONDS = 60.0, 300.0


def main(arguments: Sequence[str]) -> None:
    parser = ArgumentParser(prog="scripts/bench metrics", description=__doc__)
    parser.add_argument("--runs", type=int, help="Runs that train at once; 1,000, or 100 with --real.")
    parser.add_argument("--seconds", type=float, default=60, help="How long they are measured.")
    parser.add_argument("--real", action="store_true", help="Ship to a real MLflow.")
    parser.add_argument(
        "--share", type=float, default=1, help="A share of runs and paces, where others use the machine."
    )
    options = parser.parse_args(arguments)
    runs = int((options.runs or (100 if options.real else 1000)) * options.share)
    with ExitStack() as stack:
        home = Path(stack.enter_context(TemporaryDirectory(prefix="axo-bench-metrics-")))
        server = stack.enter_context(postgres_server(durable=True))
        database = stack.enter_context(opened(server.url()))
        names = _begin(database, home, runs, known=not options.real)
        real = [_mlflow(stack, home)] if options.real else []
        twin = stack.enter_context(program("_mlflow_twin", {}, *real))
        variables = {"AXO_HOME": str(home), "AXO_DATABASE": server.url(), "AXO_MLFLOW_URI": twin.said()}
        service = stack.enter_context(program("_shipping", variables, str(options.share)))
        port = int(service.said().rpartition(":")[2])
        _wait_for_creation(database, runs)
        print(f"{runs} runs; {machine()}")
        parties = {"service": service.process.pid, "database": server.process(), "MLflow": twin.process.pid}
        before, began = _used(parties), time.time()
        asyncio.run(_train(port, names, WARM_SECONDS + options.seconds))
        spent, until = _used(parties), time.time()
        missing = _drain(database)
        _show(json.loads(twin.end()), (began + WARM_SECONDS, until), missing, 100 * options.share)
        shares = {name: (spent[name] - before[name]) / (until - began) for name in spent}
        print("  cores                " + ", ".join(f"{name} {share:.2f}" for name, share in shares.items()))


def _mlflow(stack: ExitStack, home: Path) -> str:
    stack.callback(mlflow_server.stop, home / "mlflow")
    return mlflow_server.start(home / "mlflow").url


def _begin(database: Database, home: Path, count: int, *, known: bool) -> list[str]:
    """Runs that train, and that MLflow has a run for already where it is `known`."""
    loaded, now = parse_spec(SPEC, Path("spec.yaml")), time.time()
    names = [f"triage-{number:05}" for number in range(count)]
    for name in names:
        run = Run(
            id=name,
            name="triage",
            spec_digest=loaded.digest,
            spec=loaded.spec.model_dump(mode="json"),
            spec_text=loaded.text,
            base="",
            storage=(home / "storage").as_uri(),
            status=Status.TRAINING,
            created=now,
            updated=now,
            mlflow_run=name if known else None,
            tracked=CREATED if known else None,
            tell=None if known else now,
        )
        database.submit(run)
        database.add_launch(name, "train", 1, now)
        database.let_report(name, 1, token_digest(TOKEN + name))
    return names


def _wait_for_creation(database: Database, runs: int) -> None:
    deadline = time.monotonic() + CREATE_SECONDS
    while database.to_tell(time.time() + 1e6):
        if time.monotonic() > deadline:
            raise SystemExit(f"MLflow had not heard of all {runs} runs within {CREATE_SECONDS:g} s")
        time.sleep(0.5)


async def _train(port: int, names: Sequence[str], seconds: float) -> None:
    """Every run makes a step a second, and reports when it may."""
    lines: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(max(4, LINES * len(names) // 1000)):  # none of which is idle for long
        lines.put_nowait(await asyncio.open_connection("127.0.0.1", port))
    until = time.time() + seconds
    await asyncio.gather(
        *(_one(lines, name, number / len(names), until) for number, name in enumerate(names))
    )


async def _one(lines: asyncio.Queue[Any], name: str, phase: float, until: float) -> None:
    step, taken, record = 0, Taken(0, 1.0), b""
    began = time.time() + phase
    await asyncio.sleep(phase)
    while time.time() < until:
        while began + step <= time.time():
            step += 1
            record += Record(
                "metrics", step, began + step - 1, {"loss": 1 / step, "grad_norm": 0.5}
            ).to_line()
        reader, writer = line = await lines.get()
        writer.write(_request(name, taken.offset, record[taken.offset :]))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = next(each for each in head.split(b"\r\n") if each.startswith(b"content-length:"))
        body = await reader.readexactly(int(length.partition(b":")[2]))
        lines.put_nowait(line)
        assert head.startswith(b"http/1.1 200"), body
        taken = Taken.from_json(body)
        await asyncio.sleep(taken.again)


def _request(name: str, offset: int, data: bytes) -> bytes:
    head = (
        f"PUT {report_path(name, 1, 1)}?offset={offset} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {TOKEN}{name}\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data


def _drain(database: Database) -> int:
    """Wait until MLflow knows everything; how many points it never heard of."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while database.to_tell(time.time() + 1e6) and time.monotonic() < deadline:
        time.sleep(0.5)
    with database.engine.connect() as connection:
        return int(connection.exec_driver_sql("SELECT count(*) FROM points WHERE NOT shipped").scalar() or 0)


def _used(parties: Mapping[str, int]) -> dict[str, float]:
    """Seconds of processors that each has had by now, its children's with it; and we, who make the load."""
    used = {name: processor_seconds(each, *children(each)) for name, each in parties.items()}
    return used | {"load": time.process_time()}


def _show(told: Any, window: tuple[float, float], missing: int, most: float) -> None:
    late = sorted(lag for made, lag in told["late"] if window[0] <= made)
    counts = [count for second, count in told["requests"] if window[0] <= second < window[1]]
    p99 = late[int(len(late) * 0.99)]
    print(f"  points               {len(told['late'])}, told twice {told['again']}, never told {missing}")
    rate = f"median {statistics.median(counts):.0f}  max {max(counts)}"
    print(f"  MLflow requests/s    {rate}  (at most {most:g})")
    print(f"  lag, s               median {statistics.median(late):.1f}  p99 {p99:.1f}  (p99 at most 15)")
