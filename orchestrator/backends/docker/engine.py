"""The Docker engine's own interface, with its errors told apart: it refuses, or it cannot be asked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestrator.backends import BackendAway
from orchestrator.errors import BackendError

TIMEOUT_SECONDS = 30

Object = Mapping[str, Any]


class NotThere(BackendError):
    """The engine has no such container or image."""


class AlreadyThere(BackendError):
    """The engine has a container of that name."""


class Engine:
    """One engine; every method raises BackendAway where nobody answers, and BackendError where it refuses."""

    def __init__(self, host: str | None) -> None:
        self._host = host
        self._opened: Any = None

    def create(self, name: str, body: Object) -> str:
        """A container's id."""
        with _told_apart():
            return str(self._client().create_container_from_config(dict(body), name)["Id"])

    def start(self, container: str) -> None:
        with _told_apart():
            self._client().start(container)

    def inspect(self, name: str) -> Object:
        """Raises NotThere."""
        with _told_apart():
            found: Object = self._client().inspect_container(name)
            return found

    def signal(self, container: str, number: int) -> None:
        """Send a signal to its first process."""
        with _told_apart():
            self._client().kill(container, number)

    def remove(self, container: str) -> None:
        with _told_apart():
            self._client().remove_container(container, v=True)

    def logs(self, container: str, lines: int) -> str:
        with _told_apart():
            text: bytes = self._client().logs(container, tail=lines)
            return text.decode(errors="replace")

    def has_image(self, name: str) -> bool:
        try:
            with _told_apart():
                self._client().inspect_image(name)
        except NotThere:
            return False
        return True

    def labelled(self, label: str) -> Sequence[Object]:
        """Every container with a label, in whatever state."""
        with _told_apart():
            return list(self._client().containers(all=True, filters={"label": label}))

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    def _client(self) -> Any:
        """The client, which asks the engine for its version first."""
        if self._opened is None:
            docker = _library()
            url = {} if self._host is None else {"base_url": self._host}
            given = {**docker.utils.kwargs_from_env(), **url}
            self._opened = docker.APIClient(version="auto", timeout=TIMEOUT_SECONDS, **given)
        return self._opened


def _library() -> Any:
    try:
        import docker
    except ImportError as error:
        hint = "install it: pip install 'axo-orchestrator[docker]'"
        raise BackendError("the client for Docker engines is not installed", hint=hint) from error
    return docker


@contextlib.contextmanager
def _told_apart() -> Iterator[None]:
    from docker.errors import APIError, DockerException, NotFound
    from requests.exceptions import RequestException

    try:
        yield
    except NotFound as error:
        raise NotThere(str(error.explanation)) from error
    except APIError as error:
        kind = AlreadyThere if error.status_code == 409 else BackendError
        raise kind(f"the Docker engine refuses: {error.explanation}") from error
    except (DockerException, RequestException) as error:
        hint = "start the engine, or let `docker.host` or DOCKER_HOST name the one that runs"
        raise BackendAway(f"the Docker engine does not answer: {error}", hint=hint) from error
