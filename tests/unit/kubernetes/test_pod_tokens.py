"""Whose a projected token is: of one account, for reports, bound to a pod, signed by the cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from identity_provider import EC_KEY, NOW, RSA_KEY, Provider, identity_provider

from orchestrator.backends import BackendAway
from orchestrator.backends.kubernetes.tokens import AUDIENCE, Pod, PodTokens
from orchestrator.errors import UnreachableError

POD = {"name": "triage-abcde-2-x7k2p", "uid": "5f0c"}
SUBJECT = "system:serviceaccount:axo-training:axo-launch"


class Signer:
    """An API server that publishes a provider's keys, unless it is away."""

    def __init__(self, provider: Provider) -> None:
        self.provider, self.away, self.asked = provider, False, 0

    def get(self, path: str) -> Mapping[str, Any]:
        self._ask()
        return self.provider.discovery

    def get_as(self, path: str, media_type: str) -> Mapping[str, Any]:
        self._ask()
        return {"keys": self.provider.keys}

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise BackendAway("nobody answers")


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with identity_provider() as provider:
        yield provider


@pytest.fixture
def signer(provider: Provider) -> Signer:
    return Signer(provider)


def tokens(signer: Signer, now: float = NOW) -> PodTokens:
    return PodTokens(signer, "axo-training", "axo-launch", lambda: now)  # type: ignore[arg-type]


def token(signer: Signer, **changes: Any) -> str:
    claims = {"aud": [AUDIENCE], "sub": SUBJECT, "kubernetes.io": {"namespace": "axo-training", "pod": POD}}
    return signer.provider.token(**{**claims, **changes})


def test_a_token_tells_its_pod(signer: Signer) -> None:
    assert tokens(signer).pod(token(signer)) == Pod("triage-abcde-2-x7k2p", "5f0c")


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["https://kubernetes.default.svc"]},
        {"aud": None},
        {"iss": "https://elsewhere"},
        {"exp": NOW - 60},
        {"exp": None},
        {"sub": "system:serviceaccount:axo-training:default"},
        {"sub": "system:serviceaccount:others:axo-launch"},
        {"kubernetes.io": {"namespace": "axo-training"}},
        {"kubernetes.io": {"pod": {"name": POD["name"]}}},
        {"kubernetes.io": {"pod": "triage"}},
        {"kubernetes.io": "triage"},
        {"kid": "e"},
        {"kid": "o"},
        {"kid": None},
        {"kid": "nobody's"},
        {"key": EC_KEY, "algorithm": "ES256"},
        {"key": b"c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0", "algorithm": "HS256"},
        {"key": None, "algorithm": "none"},
    ],
)
def test_what_is_not_quite_one_tells_nothing(signer: Signer, changes: dict[str, Any]) -> None:
    assert tokens(signer).pod(token(signer, **changes)) is None


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "x" * 20_000])
def test_a_text_that_is_none_tells_nothing(signer: Signer, text: str) -> None:
    assert tokens(signer).pod(text) is None


def test_an_outage_of_the_cluster_is_not_noticed(signer: Signer) -> None:
    now = [NOW]
    read = PodTokens(signer, "axo-training", "axo-launch", lambda: now[0])  # type: ignore[arg-type]
    assert read.pod(token(signer))
    signer.away = True
    now[0] += 3600
    assert read.pod(token(signer, exp=NOW + 7200))
    asked = signer.asked
    assert [read.pod(token(signer, exp=NOW + 7200)) for _ in range(100)][-1]
    assert signer.asked == asked


def test_who_never_saw_the_keys_says_so(signer: Signer) -> None:
    signer.away = True
    with pytest.raises(UnreachableError, match="the cluster does not answer"):
        tokens(signer).pod(token(signer))


def test_rotated_keys_are_fetched_when_a_token_names_one(signer: Signer) -> None:
    now = [NOW]
    read = PodTokens(signer, "axo-training", "axo-launch", lambda: now[0])  # type: ignore[arg-type]
    assert read.pod(token(signer))
    kept = list(signer.provider.keys)
    try:
        signer.provider.keys[0] = {**kept[0], "kid": "new"}
        now[0] += 31
        assert read.pod(token(signer, key=RSA_KEY, kid="new"))
    finally:
        signer.provider.keys[:] = kept
