"""What servers answer when they do not do as they are told, and what the user then reads."""

from __future__ import annotations

import inspect
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import pytest
from handled import Handler, handled

from orchestrator import mlflow_client
from orchestrator.errors import RegistryError, TrackingError
from orchestrator.registries import Published, RegistryAway
from orchestrator.registries.mlflow import MlflowRegistry, fetch_version
from orchestrator.tracking import DatasetInput, MetricPoint, Tracker


@contextmanager
def answering(
    status: int, body: str, headers: tuple[tuple[str, str], ...] = ()
) -> Iterator[tuple[str, list[str]]]:
    """A server that always gives one answer; its address, and the paths it was asked for so far."""
    asked: list[str] = []

    class Answering(Handler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            for name, value in (*headers, ("Content-Length", str(len(body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body.encode())

        do_POST = do_GET

    with handled(Answering) as address:
        yield address, asked


def closed_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_nobody_there_is_told_at_once() -> None:
    uri = f"http://127.0.0.1:{closed_port()}"
    mlflow_client.open_client(uri)  # its import is not what is timed
    began = time.monotonic()
    with pytest.raises(TrackingError, match="cannot be reached") as caught:
        Tracker(uri).ensure_run("a", "a", "a", {}, 1)
    with pytest.raises(RegistryAway, match="cannot be reached"):
        MlflowRegistry(uri, "m", None, "0" * 32).check()
    assert time.monotonic() - began < 2
    assert caught.value.hint


def test_a_server_that_says_nothing_meets_the_deadline() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        tracker = Tracker(f"http://127.0.0.1:{silent.getsockname()[1]}")
        mlflow_client.open_client(tracker.uri)  # its import is not what is timed
        token = mlflow_client._timeouts.set((1.0, 0.2))
        began = time.monotonic()
        with pytest.raises(TrackingError, match="does not answer in time"):
            tracker.check()
        mlflow_client._timeouts.reset(token)
        assert 0.2 <= time.monotonic() - began < 1


CALLS: Mapping[str, Callable[[Tracker], object]] = {
    "check": lambda tracker: tracker.check(),
    "ensure_run": lambda tracker: tracker.ensure_run("a", "a", "a", {}, 1),
    "log_params": lambda tracker: tracker.log_params("a", {"a": 1}),
    "set_tags": lambda tracker: tracker.set_tags("a", {"a": "b"}),
    "log_points": lambda tracker: tracker.log_points("a", [MetricPoint("loss", 1, 1.0, 1)]),
    "log_summary": lambda tracker: tracker.log_summary("a", {"a": 1.0}),
    "log_inputs": lambda tracker: tracker.log_inputs("a", [DatasetInput("a", "d")]),
    "log_artifact_texts": lambda tracker: tracker.log_artifact_texts("a", {"a.txt": "a"}),
    "finish": lambda tracker: tracker.finish("a", "FINISHED", 1),
}


def test_no_call_is_without_a_deadline() -> None:
    """A server that takes a connection and says nothing: each call ends, and so do those of a registry."""
    asks = {name for name, _ in inspect.getmembers(Tracker, inspect.isfunction) if not name.startswith("_")}
    assert asks - {"run_url", "pace"} == set(CALLS), "say here how a new one is called"
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        registry = MlflowRegistry(uri, "m", None, "0" * 32)
        calls = [*(partial(call, Tracker(uri)) for call in CALLS.values()), registry.check]
        calls += [
            lambda: registry.verify(Published("mlflow", "models:/m/1", "1", "", "d")),
            lambda: fetch_version(uri, "models:/m/1", Path("nowhere")),
        ]
        mlflow_client.open_client(uri)  # its import is not what is timed
        token = mlflow_client._timeouts.set((1.0, 0.1))
        for call in calls:
            began = time.monotonic()
            with pytest.raises((TrackingError, RegistryAway), match="does not answer in time"):
                call()
            assert 0.1 <= time.monotonic() - began < 2
        mlflow_client._timeouts.reset(token)


def test_deadlines_are_ours_and_longer_for_large_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "3600")
    mlflow_client.open_client("http://127.0.0.1:1")
    from mlflow.environment_variables import MLFLOW_HTTP_REQUEST_TIMEOUT

    assert MLFLOW_HTTP_REQUEST_TIMEOUT.get() == (5.0, 10.0)
    with mlflow_client._patience(500_000_000):
        assert MLFLOW_HTTP_REQUEST_TIMEOUT.get() == (5.0, 510.0)
    assert MLFLOW_HTTP_REQUEST_TIMEOUT.get() == (5.0, 10.0)


def test_a_failing_server_is_asked_once_and_is_away() -> None:
    with answering(503, "starting", (("Retry-After", "60"),)) as (uri, asked):
        with pytest.raises(TrackingError, match="fails"):
            Tracker(uri).check()
        assert len(asked) == 1
        with pytest.raises(RegistryAway):
            MlflowRegistry(uri, "m", None, "0" * 32).check()
        assert len(asked) == 2


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_are_refused_name_the_variables(status: int) -> None:
    with answering(status, "You are not authenticated.") as (uri, _):
        with pytest.raises(TrackingError, match="does not accept who we are") as caught:
            Tracker(uri).check()
        with pytest.raises(RegistryError) as refused:
            MlflowRegistry(uri, "m", None, "0" * 32).check()
    assert "MLFLOW_TRACKING_USERNAME" in str(caught.value.hint)
    assert not isinstance(refused.value, RegistryAway)


@pytest.mark.parametrize(
    ("status", "body"), [(404, "<html>no such page</html>"), (200, "<html>hello</html>")]
)
def test_another_kind_of_server_is_called_that(status: int, body: str) -> None:
    with (
        answering(status, body) as (uri, _),
        pytest.raises(TrackingError, match="does not answer as MLflow does"),
    ):
        Tracker(uri).check()


def test_the_host_name_trap_is_explained(mlflow_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that only a proxy resolves: the real server sees it in the Host header and refuses it."""
    monkeypatch.setenv("http_proxy", mlflow_url)
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(TrackingError, match="refuses the host name") as caught:
        Tracker("http://mlflow.tools.svc.cluster.local:5000").check()
    assert "MLFLOW_SERVER_ALLOWED_HOSTS" in str(caught.value.hint)
    assert "mlflow.tools.svc.cluster.local:5000" in str(caught.value.hint)


def test_a_password_in_the_address_is_never_shown() -> None:
    uri = f"http://user:sesame@127.0.0.1:{closed_port()}"
    with pytest.raises(TrackingError) as caught:
        Tracker(uri).check()
    assert "sesame" not in f"{caught.value}{caught.value.hint}"
    assert "sesame" not in Tracker(uri).run_url("1", "2")


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "mlruns", "file:///tmp/mlruns", "http://"])
def test_only_a_server_is_taken(uri: str) -> None:
    with pytest.raises(TrackingError, match="not the address"):
        Tracker(uri)
    with pytest.raises(RegistryError, match="not the address"):
        MlflowRegistry(uri, "m", None, "0" * 32)


def test_importing_ours_does_not_import_mlflow() -> None:
    code = "import sys, orchestrator.tracking, orchestrator.registries.mlflow; print('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
