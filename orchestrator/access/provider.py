"""The public keys of whoever signs tokens: fetched when they are wanted, kept while it is away."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from orchestrator.errors import UnreachableError

FRESH_SECONDS = 600.0  # after which they are fetched anew
STALE_SECONDS = 24 * 3600.0  # until which they are used where that fails
AGAIN_SECONDS = 30.0  # between two tries, so that tokens with made-up key ids do not make us ask
_TIMEOUT_SECONDS, _MAX_BYTES = 5.0, 1 << 20
DISCOVERY = "/.well-known/openid-configuration"
_log = logging.getLogger(__name__)

Keys = Mapping[str, Mapping[str, Any]]


class SignerKeys:
    """The keys that `fetch` gets, as JSON Web Keys by their ids; threads may share it.

    `signer` is what people call whose they are; `fetch` raises one of `troubles` where it cannot get any.
    """

    def __init__(
        self,
        signer: str,
        fetch: Callable[[], Keys],
        clock: Callable[[], float],
        troubles: tuple[type[Exception], ...] = (httpx.HTTPError, ValueError),
    ) -> None:
        self._signer, self._fetch, self._clock, self._troubles = signer, fetch, clock, troubles
        self._keys: Keys = {}
        self._fetched = self._tried = float("-inf")
        self._fetching = threading.Lock()

    def key(self, name: str) -> Mapping[str, Any] | None:
        """The key of that id; None where the provider has none.

        Raises:
            UnreachableError: the provider does not answer, and its keys are older than `STALE_SECONDS`.
        """
        if self._wants(name):
            self._refresh(name)
        if self._clock() - self._fetched > STALE_SECONDS:
            raise UnreachableError(f"{self._signer} does not answer", hint="try again a little later")
        return self._keys.get(name)

    def _wants(self, name: str) -> bool:
        now = self._clock()
        wanted = name not in self._keys or not 0 <= now - self._fetched <= FRESH_SECONDS
        return wanted and not 0 <= now - self._tried < AGAIN_SECONDS  # nor before the clock was set back

    def _refresh(self, name: str) -> None:
        """Fetch the keys; one thread does, and who can do with the old ones goes on with them."""
        if not self._fetching.acquire(blocking=name not in self._keys):
            return
        try:
            if self._wants(name):
                self._tried = self._clock()
                self._keys = self._fetch()
                self._fetched = self._tried
        except self._troubles as error:
            _log.warning("the keys of %s cannot be fetched: %s", self._signer, error)
        finally:
            self._fetching.release()


@dataclass(frozen=True)
class Provider:
    """An identity provider, whose keys lie at `keys_url`, or where its discovery document says."""

    issuer: str
    keys_url: str | None

    def keys(self) -> Keys:
        """Fetch them. Raises httpx.HTTPError or ValueError where that fails."""
        with httpx.Client(timeout=_TIMEOUT_SECONDS, follow_redirects=False) as http:
            return keys_by_id(_read(http, self.keys_url or self._discovered(http)))

    def _discovered(self, http: httpx.Client) -> str:
        """Where the provider says its keys are."""
        document = _read(http, self.issuer.rstrip("/") + DISCOVERY)
        url = document.get("jwks_uri")
        if document.get("issuer") != self.issuer or not isinstance(url, str):
            raise ValueError("its discovery document is of another issuer, or names no keys")
        if url.startswith("http:") and not self.issuer.startswith("http:"):
            raise ValueError("its discovery document names keys that come without encryption")
        return url


def keys_by_id(document: Mapping[str, Any]) -> Keys:
    """The signing keys of a JSON Web Key Set. Raises ValueError where it is none."""
    keys = document.get("keys")
    if not isinstance(keys, list):
        raise ValueError("there is no list of keys")
    named = [key for key in keys if isinstance(key, dict) and isinstance(key.get("kid"), str)]
    return {key["kid"]: key for key in named if key.get("use", "sig") == "sig"}


def _read(http: httpx.Client, url: str) -> dict[str, Any]:
    """The JSON object at a URL, of bounded size."""
    data = b""
    with http.stream("GET", url) as answer:
        if answer.status_code != 200:
            raise ValueError(f"{url} answers {answer.status_code}")
        for part in answer.iter_bytes():
            data += part
            if len(data) > _MAX_BYTES:
                raise ValueError(f"{url} answers with more than {_MAX_BYTES} bytes")
    found = json.loads(data)
    if not isinstance(found, dict):
        raise ValueError(f"{url} answers with something that is no JSON object")
    return found
