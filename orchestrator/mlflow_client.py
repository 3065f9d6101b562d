"""MLflow's client as tracking and registry share it: lazy, with deadlines, its errors put into sentences."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit, urlunsplit

from orchestrator.contract import File, hash_file
from orchestrator.errors import OrchestratorError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
_SLOWEST_BYTES_PER_SECOND = 1_000_000

_timeouts: ContextVar[tuple[float, float]] = ContextVar(
    "mlflow_timeouts", default=(CONNECT_SECONDS, READ_SECONDS)
)


class Artifacts(Protocol):
    """Where the artifacts of one MLflow run lie: the part of MLflow's artifact repository we use.

    `_download_file` is what every repository implements; its public counterpart downloads from
    threads of its own, which would not see the deadline of the thread that asked.
    """

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None: ...
    def list_artifacts(self, path: str | None = None) -> Sequence[ArtifactInfo]: ...
    def _download_file(self, remote_file_path: str, local_path: str) -> None: ...


class ArtifactInfo(Protocol):
    """A file or folder among a run's artifacts; `path` starts at the run's root."""

    path: str
    is_dir: bool
    file_size: int | None


@dataclass(frozen=True)
class Trouble:
    """What went wrong with MLflow: `away` where trying again later is likely to help."""

    message: str
    hint: str
    away: bool


@lru_cache(maxsize=8)
def open_client(uri: str) -> MlflowClient:
    """MLflow's client for the server at `uri`; importing it takes seconds, so on first use only.

    Nothing is retried inside the client. A retried POST could make two of what it makes, and our
    callers come back anyway.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read at import, here and in children
    from mlflow import environment_variables as variables
    from mlflow.tracking import MlflowClient

    # MLflow reads these once per process from the environment, which is the caller's. Answering in
    # its place leaves that alone and lets each thread have the deadline of what it does.
    _answer(variables.MLFLOW_HTTP_REQUEST_TIMEOUT, _timeouts.get)
    _answer(variables.MLFLOW_HTTP_REQUEST_MAX_RETRIES, lambda: 0)
    _answer(variables.MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT, lambda: True)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


def open_artifacts(uri: str, mlflow_run: str) -> Artifacts:
    """The artifacts of an MLflow run, behind the server or in the store that it names."""
    artifact_uri = open_client(uri).get_run(mlflow_run).info.artifact_uri
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository: Artifacts = get_artifact_repository(artifact_uri, tracking_uri=uri)
    return repository


def upload(artifacts: Artifacts, file: Path, folder: str | None) -> None:
    """Put one local file under `folder` of a run's artifacts, its name kept."""
    with _patience(file.stat().st_size):
        artifacts.log_artifact(str(file), folder)


def download(artifacts: Artifacts, path: str, target: Path, size: int = 0) -> File:
    """Fetch one artifact of about `size` bytes; its size and SHA-256 as they arrived."""
    with _patience(size):
        artifacts._download_file(path, str(target))
    return hash_file(target, path)


def files_below(artifacts: Artifacts, folder: str) -> dict[str, int]:
    """The files below a folder of a run's artifacts: path relative to it, and size in bytes."""
    found: dict[str, int] = {}
    waiting = [folder]
    while waiting:
        for info in artifacts.list_artifacts(waiting.pop()):
            if info.is_dir:
                waiting.append(info.path)
            else:
                found[info.path.removeprefix(f"{folder}/")] = info.file_size or 0
    return found


@contextmanager
def translated(
    uri: str, *, away: type[OrchestratorError], refused: type[OrchestratorError]
) -> Iterator[None]:
    """Raise what MLflow or the network raises inside as one of ours, the cause kept."""
    try:
        yield
    except OSError as error:  # requests' errors are of this kind
        raise _raised(explain(error, uri), away, refused) from error
    except Exception as error:
        if type(error).__module__ != "mlflow.exceptions":
            raise
        raise _raised(explain(error, uri), away, refused) from error


def explain(error: Exception, uri: str) -> Trouble:
    """The sentence and the hint for an error of MLflow's client."""
    server = public_uri(uri)
    text, status = " ".join(str(error).replace(uri, server).split())[:300], _status(error)
    if "Invalid Host header" in text:
        hint = f"start it with MLFLOW_SERVER_ALLOWED_HOSTS holding {urlsplit(server).netloc}; "
        hint += "its /health answers all the same"
        return Trouble(f"MLflow at {server} refuses the host name it was called by", hint, away=False)
    if "failed with timeout" in text or "timed out" in str(error):
        return Trouble(f"MLflow at {server} does not answer in time", "look at its load and log", away=True)
    if "valid JSON format" in text or (status == 404 and "API request to endpoint" in text):
        return Trouble(f"{server} does not answer as MLflow does", "is the URL right?", away=False)
    if _is_unreachable(error, status):
        return Trouble(f"MLflow at {server} cannot be reached", "is the server up, and the URL right?", True)
    if status in (401, 403):
        hint = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
        return Trouble(f"MLflow at {server} does not accept who we are ({status})", hint, away=False)
    if status == 429 or (status or 0) >= 500:
        return Trouble(f"MLflow at {server} fails: {text}", "look at the server's log", away=True)
    return Trouble(f"MLflow at {server} refuses: {text}", "see the server's log", away=False)


def public_uri(uri: str) -> str:
    """A server's address without the user and password that it may hold."""
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def checked_uri(uri: str, error: type[OrchestratorError]) -> str:
    """The address, without a slash at its end. Raises `error` where it is not a server's."""
    parts = urlsplit(uri)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise error(
            f"not the address of an MLflow server: {public_uri(uri)}", hint="such as http://127.0.0.1:5000"
        )
    return uri.rstrip("/")


def was_refused_as(error: Exception, code: str, words: str = "") -> bool:
    """Whether MLflow refused with this error code, and these words in its message."""
    return getattr(error, "error_code", None) == code and words in str(error)


def _answer(variable: object, value: Callable[[], object]) -> None:
    variable.get = value  # type: ignore[attr-defined]


@contextmanager
def _patience(size: int) -> Iterator[None]:
    """Wait as long for an answer as `size` bytes may take from a slow store behind the server."""
    token = _timeouts.set((CONNECT_SECONDS, READ_SECONDS + size / _SLOWEST_BYTES_PER_SECOND))
    try:
        yield
    finally:
        _timeouts.reset(token)


def _raised(
    trouble: Trouble, away: type[OrchestratorError], refused: type[OrchestratorError]
) -> OrchestratorError:
    return (away if trouble.away else refused)(trouble.message, hint=trouble.hint)


def _status(error: Exception) -> int | None:
    """The HTTP status behind an error, from MLflow's exception or from that of requests."""
    if hasattr(error, "get_http_status_code"):
        return int(error.get_http_status_code())
    response = getattr(error, "response", None)
    return None if response is None else int(response.status_code)


def _is_unreachable(error: Exception, status: int | None) -> bool:
    """MLflow's own exception for a connection that failed claims status 500; it is known by its words.
    An answer with an error status that requests gave up on reads alike."""
    if status is None:
        return isinstance(error, OSError)
    return "failed with exception" in str(error) and "error responses" not in str(error)
