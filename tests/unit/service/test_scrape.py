"""The address for Prometheus: figures without a credential, and nothing else."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

import httpx
import pytest
from stored_run import store_run

from orchestrator.api.scrape import scraped
from orchestrator.db import opened
from orchestrator.errors import DatabaseError, SettingsError
from orchestrator.runs import Status
from orchestrator.service.figures import figures


@pytest.mark.parametrize("address", ["127.0.0.1", "[::1]", "localhost"])
def test_prometheus_reads_figures_and_nothing_else(tmp_path: Path, address: str) -> None:
    store_run(tmp_path, "triage-aaaaa", status=Status.TRAINING)
    with (
        opened(f"sqlite:///{tmp_path / 'axo.db'}") as database,
        scraped(f"{address}:0", lambda: figures(database, 1_000.0)) as port,
        httpx.Client(base_url=f"http://{address}:{port}") as http,
    ):
        answer = http.get("/metrics", headers={"Host": "10.1.2.3:8521"})
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert 'axo_runs{status="training"} 1.0' in answer.text
        assert http.get("/api/v1/runs").status_code == 404
        assert http.post("/metrics").status_code == 405


def test_clients_that_dawdle_hold_up_nobody_and_take_no_thread() -> None:
    with scraped("127.0.0.1:0", lambda: b"x 1\n") as port, contextlib.ExitStack() as stack:
        for _ in range(100):
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            slow.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        before = threading.active_count()
        assert httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text == "x 1\n"
        assert threading.active_count() <= before + 1, "the one that answers"
        assert before < 50


def test_a_database_that_is_away_is_a_failed_scrape() -> None:
    def away() -> bytes:
        raise DatabaseError("the database is away")

    with scraped("127.0.0.1:0", away) as port:
        assert httpx.get(f"http://127.0.0.1:{port}/metrics").status_code == 503


@pytest.mark.parametrize("address", ["127.0.0.1:{taken}", "127.0.0.1:99999", "no.such.host.invalid:1"])
def test_an_address_that_cannot_be_had_is_a_fault_of_the_settings(address: str) -> None:
    with scraped("127.0.0.1:0", lambda: b"") as taken, pytest.raises(SettingsError, match=r"access\.metrics"):
        scraped(address.format(taken=taken), lambda: b"").__enter__()
