"""Whose a service account's token is, as the cluster projects it into a launch's pod.

The token is bound to its pod, and good for reports alone by its audience. Its signature is checked here
against the cluster's keys, which are kept while the API server is away: nobody is asked about a report.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from orchestrator.access.provider import DISCOVERY, SignerKeys, keys_by_id
from orchestrator.access.tokens import NotBelieved, Trusted, read_claims
from orchestrator.backends.kubernetes.api import Api
from orchestrator.errors import BackendError, UnreachableError

AUDIENCE = "axo-reports"
_ALGORITHMS = ("RS256", "ES256")  # what API servers sign with
_KEYS, _KEY_SET = "/openid/v1/jwks", "application/jwk-set+json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pod:
    """The pod that a token is bound to."""

    name: str
    uid: str


class PodTokens:
    """Reads the tokens of one service account; `clock` gives seconds since 1970."""

    def __init__(self, api: Api, namespace: str, account: str, clock: Callable[[], float]) -> None:
        self._api, self._namespace, self._account, self._clock = api, namespace, account, clock
        self._keys = SignerKeys("the cluster", self._fetch, clock, (BackendError, ValueError))

    def pod(self, token: str) -> Pod | None:
        """The pod that holds a token; None where it is not to be believed.

        Raises:
            UnreachableError: the cluster's keys cannot be had.
        """
        try:
            return self._pod(token)
        except BackendError as error:
            raise UnreachableError("the cluster does not answer") from error
        except NotBelieved as reason:
            _log.info("a launch's token is not believed: %s", reason)
            return None

    def _pod(self, token: str) -> Pod:
        trusted = Trusted(self._issuer, AUDIENCE, _ALGORITHMS)
        claims = read_claims(token, trusted, self._keys, self._clock())
        bound = _mapping(claims.get("kubernetes.io"))
        pod = _mapping(bound.get("pod"))
        name, uid = pod.get("name"), pod.get("uid")
        if claims["sub"] != f"system:serviceaccount:{self._namespace}:{self._account}":
            raise NotBelieved("it is of another service account")
        if not isinstance(name, str) or not isinstance(uid, str):
            raise NotBelieved("it is not bound to a pod")
        return Pod(name, uid)

    @cached_property
    def _issuer(self) -> str:
        return str(self._api.get(DISCOVERY)["issuer"])

    def _fetch(self) -> Mapping[str, Mapping[str, Any]]:
        return keys_by_id(self._api.get_as(_KEYS, _KEY_SET))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
