"""The cluster's API in plain dictionaries: the one file that knows the Kubernetes client and its errors.

Paths and JSON rather than the client's models: both of its major versions take them, and decoding a model
costs milliseconds. Connecting, certificates and logins are the client's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

from orchestrator.backend_sections import REQUESTS_PER_SECOND
from orchestrator.backends import BackendAway, BackendFull
from orchestrator.backends.kubernetes.pace import REQUESTS, Pacer
from orchestrator.errors import BackendError

_SECONDS = (5.0, 30.0)  # to connect, to answer

_MERGE = "application/merge-patch+json"
_OVER_QUOTA = " is forbidden: exceeded quota: "
_LACKS_RIGHT = ' is forbidden: User "'  # said also where the namespace is not there
MAKE_NAMESPACE = (
    "make the namespace and its rights from k8s/namespace.yaml and k8s/access.yaml, "
    "or name another in the settings file"
)

Object = dict[str, Any]


class NotThere(BackendError):
    """The cluster has no such object."""


class AlreadyThere(BackendError):
    """The cluster has an object of that name, or it is another one by now."""


class NotAllowed(BackendAway):
    """The service's account lacks a right, which its administrator may give it at any time."""


class Api:
    """One cluster, as the kubeconfig's `context` shows it, or as the pod that this runs in does."""

    def __init__(self, context: str | None = None, requests_per_second: float = REQUESTS_PER_SECOND) -> None:
        self._context = context
        self._pacer = Pacer(requests_per_second)

    def get(self, path: str, **query: str) -> Object:
        return self._json("get", path, query)

    def get_as(self, path: str, media_type: str) -> Object:
        """A document that the server has in this form of JSON alone."""
        return dict(json.loads(bytes(self._answer("get", path, {}, accept=media_type).data)))

    def create(self, path: str, body: Mapping[str, Any], **query: str) -> Object:
        return self._json("post", path, query, dict(body))

    def change(self, path: str, what: Mapping[str, Any]) -> None:
        """Change what is said of an object, where the `uid` and `resourceVersion` in it are still its own."""
        self._json("patch", path, {}, dict(what))

    def delete(self, path: str, uid: str, propagation: Literal["Foreground", "Background"]) -> None:
        """Remove the object with this `uid` and what belongs to it.

        In the foreground it can be seen until all of that is gone, in the background it is gone first.
        """
        options = {"propagationPolicy": propagation, "preconditions": {"uid": uid}}
        self._json("delete", path, {}, options)

    def text(self, path: str, **query: str) -> str:
        return self._send("get", path, query).decode(errors="replace")

    def stream(self, path: str, silence: float, **query: str) -> Iterator[bytes]:
        """An empty line once it is connected, then the lines of a watch, until the server ends it.

        Raises:
            BackendAway: there is no connection any more, or nothing was said for `silence` seconds.
        """
        from urllib3.exceptions import HTTPError

        answer = self._answer("get", path, query, seconds=(_SECONDS[0], silence))
        try:
            yield (rest := b"")
            for part in answer.stream(None, decode_content=True):
                *lines, rest = (rest + part).split(b"\n")
                yield from filter(None, lines)
        except (HTTPError, OSError) as error:
            self._drop_idle()
            raise BackendAway(f"the watch broke: {error}") from error
        finally:
            answer.close()

    def close(self) -> None:
        """Let go of connections."""
        if "_client" in self.__dict__:
            self._client.client.close()

    def _json(self, method: str, path: str, query: Mapping[str, str], body: Object | None = None) -> Object:
        return dict(json.loads(self._send(method, path, query, body)))

    def _send(self, method: str, path: str, query: Mapping[str, str], body: Object | None = None) -> bytes:
        return bytes(self._answer(method, path, query, body).data)

    def _answer(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Object | None = None,
        seconds: tuple[float, float] = _SECONDS,
        accept: str = "application/json",
    ) -> Any:
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        self._pacer.wait()
        REQUESTS.labels(method).inc()
        try:
            return self._client.request(
                method,
                path,
                body=body,
                query_params=list(query.items()),
                header_params={"Accept": accept},
                content_type=_MERGE if method == "patch" else None,
                serialize=False,
                _request_timeout=seconds,
            )
        except ApiException as error:
            raise _translated(error.status, _message(error.body)) from error
        except (HTTPError, OSError) as error:
            self._drop_idle()
            raise BackendAway(f"the cluster does not answer: {error}") from error

    def _drop_idle(self) -> None:
        """Let go of connections that wait for another request: what broke one has likely broken them too, and
        whoever asks next would find that out half a minute later."""
        if "_client" in self.__dict__:
            self._client.client.rest_client.pool_manager.clear()

    @cached_property
    def _client(self) -> Any:
        from kubernetes import config, dynamic

        try:
            connected = _connected(config, self._context)
        except config.ConfigException as error:
            hint = "let KUBECONFIG name a kubeconfig, or run in a pod that has a service account"
            raise BackendError(f"there is no cluster to talk to: {error}", hint=hint) from error
        make: Any = dynamic.DynamicClient
        return make(connected, discoverer=lambda client, cache: None)  # paths need no discovery


def _connected(config: Any, context: str | None) -> Any:
    from kubernetes.client import ApiClient, Configuration

    try:
        if context is None:
            configuration = Configuration()
            config.load_incluster_config(client_configuration=configuration)
            return ApiClient(configuration)
    except config.ConfigException:
        pass  # not in a pod
    return config.new_client_from_config(os.environ.get("KUBECONFIG"), context)


def _translated(status: int, message: str) -> BackendError:
    match status:
        case 404:
            return NotThere(message)
        case 403 if message.endswith("because it is being terminated"):  # a namespace, on its way out
            return NotThere(message)
        case 403 if _LACKS_RIGHT in message:
            return NotAllowed(f"the cluster does not let us ask: {message}", hint=MAKE_NAMESPACE)
        # Of how many Jobs there may be, which those that end make room in.
        case 403 if _OVER_QUOTA in message:
            return BackendFull(message)
        case 409:
            return AlreadyThere(message)
        case 401 | 429:
            return BackendAway(f"the cluster does not let us ask now: {message}")
        case _ if status >= 500:
            return BackendAway(f"the cluster cannot answer now: {message}")
    hint = (
        "mend what it says: in `kubernetes` of the settings file, in the Job that it names, or in the cluster"
    )
    return BackendError(f"the cluster refuses it: {message}", hint=hint)


def _message(body: object) -> str:
    """What the API server says, out of its Status object."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip() or "it does not say why"
