"""Tokens of an identity provider: what a good one opens, and every way known to pass for one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from identity_provider import AUDIENCE, EC_KEY, NOW, RSA_KEY, Provider, identity_provider
from jwt.algorithms import RSAAlgorithm

from orchestrator.access.provider import AGAIN_SECONDS, FRESH_SECONDS, STALE_SECONDS
from orchestrator.access.throttle import FAILURES, SECONDS, Throttle
from orchestrator.access_section import AccessSection, OidcSection
from orchestrator.api.app import make_app
from orchestrator.client import Client
from orchestrator.client.embedded import EmbeddedTransport
from orchestrator.db import Database, opened
from orchestrator.errors import AuthError, ForbiddenError, ThrottledError, UnreachableError
from orchestrator.host import open_host
from orchestrator.service import Access, Caller, Role
from orchestrator.settings import Settings

STRANGER = rsa.generate_private_key(65537, 2048)
GRANTS = [
    {"group": "ml", "project": "triage", "role": "viewer"},
    {"group": "ml-leads", "project": "triage", "role": "admin"},
    {"group": "ml-leads", "project": "routing", "role": "submitter"},
]


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def provider() -> Iterator[Provider]:
    with identity_provider() as provider:
        yield provider


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with opened(f"sqlite:///{tmp_path}/axo.db") as database:
        yield database


@pytest.fixture
def access(provider: Provider, database: Database, clock: Clock) -> Access:
    return access_of(provider, database, clock)


def access_of(provider: Provider, database: Database, clock: Clock, **changes: object) -> Access:
    values = {
        "issuer": provider.issuer,
        "audience": AUDIENCE,
        "algorithms": ["RS256", "ES256"],
        "grants": GRANTS,
        **changes,
    }
    return Access(database, clock, section=AccessSection(oidc=OidcSection.model_validate(values)))


def test_a_good_token_is_its_groups_projects_and_roles(access: Access, provider: Provider) -> None:
    assert access.caller(provider.token()) == Caller("triage", Role.VIEWER, "oidc/ann")
    assert access.caller(provider.token(EC_KEY, "ES256", "e", sub="bob")).name == "oidc/bob"
    leads = provider.token(groups=["ml", "ml-leads"])
    assert access.caller(leads, "triage").role is Role.ADMIN
    assert access.caller(leads, "routing").role is Role.SUBMITTER
    assert access.caller(provider.token(aud=["other", AUDIENCE])).project == "triage"
    assert access.caller(provider.token(groups="ml")).project == "triage"


def test_what_a_token_does_not_open_is_said(access: Access, provider: Provider) -> None:
    leads = provider.token(groups=["ml-leads"])
    for project, groups, words in (
        (None, ["ml-leads"], "which project"),
        ("theirs", ["ml-leads"], "not yours"),
        ("routing", ["ml"], "not yours"),
        (None, [], "no project is open"),
        (None, {"ml": True}, "no project is open"),
        (None, ["ML"], "no project is open"),
    ):
        with pytest.raises(ForbiddenError) as caught:
            access.caller(provider.token(groups=groups), project)
        assert words in f"{caught.value} {caught.value.hint}"
    with pytest.raises(ForbiddenError) as caught:
        access.caller(leads)
    assert "routing, triage" in str(caught.value.hint)


def test_claims_may_be_named(provider: Provider, database: Database, clock: Clock) -> None:
    access = access_of(
        provider, database, clock, groups_claim="realm_access.roles", name_claim="https://org.example/mail"
    )
    token = provider.token(
        groups=None, realm_access={"roles": ["ml"]}, **{"https://org.example/mail": "ann@org\n" + "x" * 500}
    )
    caller = access.caller(token)
    assert caller.name.startswith("oidc/ann@org?xxx")
    assert len(caller.name) < 200
    with pytest.raises(AuthError):
        access.caller(provider.token(realm_access={"roles": ["ml"]}))


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def signed_with_public_key(provider: Provider) -> Iterator[str]:
    """HS256 over what everybody knows: the public key in each of its forms."""
    public = RSA_KEY.public_key()
    forms = [
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        json.dumps(provider.keys[0]).encode(),
    ]
    for secret in forms:
        for kid in ("r", "o"):
            text = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': kid})}.{part(provider.claims())}"
            mac = hmac.new(secret, text.encode(), hashlib.sha256).digest()
            yield f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def unsigned(provider: Provider) -> Iterator[str]:
    for algorithm in ("none", "None", "NONE", "nOnE", "", None, ["RS256"], 256):
        for signature in ("", "AA"):
            yield f"{part({'alg': algorithm, 'kid': 'r'})}.{part(provider.claims())}.{signature}"


def with_own_key(provider: Provider) -> Iterator[str]:
    """Signed by a stranger, whose key the header brings or points to."""
    jwk = RSAAlgorithm.to_jwk(STRANGER.public_key(), as_dict=True)
    for extra in (
        {"jwk": jwk},
        {"jku": f"{provider.issuer}/keys"},
        {"x5u": "https://evil.example"},
        {"x5c": ["AA"]},
    ):
        for kid in ("r", "stranger"):
            yield jwt.encode(provider.claims(), STRANGER, "RS256", {"kid": kid, **extra})


def with_wrong_claims(provider: Provider) -> Iterator[str]:
    other = provider.issuer
    for changes in (
        {"iss": "https://evil.example"},
        {"iss": other + "/"},
        {"iss": [other]},
        {"iss": None},
        {"aud": "axo2"},
        {"aud": ["other"]},
        {"aud": []},
        {"aud": None},
        {"sub": None},
        {"sub": ""},
        {"sub": 7},
        {"exp": NOW - 31},
        {"exp": 0},
        {"exp": None},
        {"exp": True},
        {"exp": "tomorrow"},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"exp": 10**400},
        {"nbf": -(10**400)},
        {"iat": NOW + 31},
        {"iat": None},
        {"nbf": NOW + 31},
    ):
        yield provider.token(**changes)


def with_wrong_keys(provider: Provider) -> Iterator[str]:
    yield provider.token(kid=None)
    yield provider.token(kid="unknown")
    yield provider.token(kid="../r")
    yield provider.token(kid="e")  # an EC key, for RS256
    yield provider.token(EC_KEY, "ES256", "r")
    yield provider.token(STRANGER)
    yield provider.token(algorithm="RS512")  # of the provider's own key, but not among those taken
    yield provider.token(algorithm="PS256")
    yield provider.token(ec.generate_private_key(ec.SECP256R1()), "ES256", "e")


def misshapen(provider: Provider) -> Iterator[str]:
    good = provider.token()
    head, body, signature = good.split(".")
    deep = '{"alg": "RS256", "kid": ' + "[" * 5000 + "]" * 5000 + "}"
    yield f"{base64.urlsafe_b64encode(deep.encode()).rstrip(b'=').decode()}.{body}.{signature}"
    yield from (
        "",
        ".",
        "..",
        "a.b.c",
        good + ".x",
        f"{head}.{body}",
        f"{head}.{body}.",
        f"{head}..{signature}",
    )
    yield f"{head}.{part({**provider.claims(), 'groups': ['ml-leads']})}.{signature}"
    yield f"{head}.{body}.{signature[:-4]}AAAA"
    yield good + "A" * 20_000
    yield f"{part([])}.{body}.{signature}"
    yield jwt.encode(provider.claims(), RSA_KEY, "RS256", {"kid": "r", "crit": ["b64"], "b64": False})


@pytest.mark.parametrize(
    "attack", [unsigned, signed_with_public_key, with_own_key, with_wrong_claims, with_wrong_keys, misshapen]
)
def test_what_only_looks_like_a_token_is_refused(access: Access, provider: Provider, attack: Any) -> None:
    assert access.caller(provider.token())
    tried = 0
    for token in attack(provider):
        with pytest.raises(AuthError, match="is not known"):
            access.caller(token, address=str(tried))
        tried += 1
    assert tried > 7


def test_clocks_may_differ_by_the_leeway(access: Access, provider: Provider) -> None:
    assert access.caller(provider.token(exp=NOW - 29))
    assert access.caller(provider.token(iat=NOW + 29, nbf=NOW + 29))


def test_keys_outlive_an_outage_for_a_bounded_time(access: Access, provider: Provider, clock: Clock) -> None:
    token = provider.token(exp=NOW + 10 * STALE_SECONDS)
    access.caller(token)
    asked = provider.asked
    clock.now = NOW + FRESH_SECONDS
    access.caller(token)
    assert provider.asked == asked
    provider.away = True
    for later in (3600.0, STALE_SECONDS):
        clock.now = NOW + later
        assert access.caller(token)
        assert access.caller(token)
    assert provider.asked == asked + 2  # once for each of the two hours, not for each token
    clock.now = NOW + STALE_SECONDS + AGAIN_SECONDS
    with pytest.raises(UnreachableError, match="identity provider"):
        access.caller(token)
    provider.away = False
    clock.now += AGAIN_SECONDS
    assert access.caller(token)


def test_a_clock_that_is_set_back_locks_nobody_out(access: Access, provider: Provider, clock: Clock) -> None:
    access.caller(provider.token())
    provider.keys.append({**RSAAlgorithm.to_jwk(STRANGER.public_key(), as_dict=True), "kid": "new"})
    for _ in range(FAILURES):
        with pytest.raises(AuthError):
            access.caller("nothing", address="10.0.0.1")
    clock.now = NOW - 3600.0
    for name, key in (("r", RSA_KEY), ("new", STRANGER)):
        early = provider.token(key, kid=name, iat=clock.now, nbf=clock.now, exp=clock.now + 60)
        assert access.caller(early, address="10.0.0.1")


def test_a_service_that_starts_in_an_outage_says_so(access: Access, provider: Provider, clock: Clock) -> None:
    provider.away = True
    with pytest.raises(UnreachableError):
        access.caller(provider.token())
    provider.away = False
    clock.now += AGAIN_SECONDS
    assert access.caller(provider.token())


def test_a_new_key_counts_soon_and_a_withdrawn_one_no_more(
    access: Access, provider: Provider, clock: Clock
) -> None:
    access.caller(provider.token())
    provider.keys = [{**RSAAlgorithm.to_jwk(STRANGER.public_key(), as_dict=True), "kid": "new"}]
    clock.now += AGAIN_SECONDS
    assert access.caller(provider.token(STRANGER, kid="new"))
    with pytest.raises(AuthError):
        access.caller(provider.token())


def test_made_up_key_ids_do_not_have_the_provider_asked_each_time(access: Access, provider: Provider) -> None:
    access.caller(provider.token())
    asked = provider.asked
    for number in range(10):
        with pytest.raises(AuthError):
            access.caller(provider.token(kid=f"made-up-{number}"))
    assert provider.asked <= asked + 2


@pytest.mark.parametrize(
    "discovery", [{}, {"issuer": "https://evil.example", "jwks_uri": "x"}, {"issuer": 1}]
)
def test_a_discovery_document_of_somebody_else_is_none(
    access: Access, provider: Provider, discovery: Any
) -> None:
    provider.discovery = discovery
    with pytest.raises(UnreachableError):
        access.caller(provider.token())


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "http://issuer.example"},
        {"issuer": "ftp://issuer.example"},
        {"issuer": "https://issuer.example?x"},
        {"keys_url": "http://issuer.example/keys"},
        {"algorithms": []},
        {"algorithms": ["HS256"]},
        {"algorithms": ["none"]},
        {"leeway_seconds": 301},
        {"grants": []},
        {"grants": [{"group": "ml", "project": "Triage", "role": "admin"}]},
        {"grants": [{"group": "ml", "project": "triage", "role": "owner"}]},
    ],
)
def test_settings_that_would_weaken_it_are_refused(changes: dict[str, object]) -> None:
    good = {"issuer": "https://issuer.example", "audience": "axo", "grants": GRANTS}
    assert OidcSection.model_validate(good)
    with pytest.raises(ValueError, match=next(iter(changes))):
        OidcSection.model_validate({**good, **changes})


def test_an_address_that_fails_too_often_waits_and_good_credentials_do_not(
    access: Access, provider: Provider, clock: Clock
) -> None:
    good = provider.token()
    access.caller(good, address="10.0.0.1")
    for number in range(FAILURES):
        with pytest.raises(AuthError):
            access.caller(f"nothing {number}", address="10.0.0.1")
    for credential in ("nothing", provider.token(sub="bob")):
        with pytest.raises(ThrottledError):
            access.caller(credential, address="10.0.0.1")
    assert access.caller(good, address="10.0.0.1")
    assert access.caller(provider.token(sub="bob"), address="10.0.0.2")
    clock.now += SECONDS
    with pytest.raises(AuthError):
        access.caller("nothing", address="10.0.0.1")


def test_the_interface_takes_the_project_and_tells_who_waits(
    access: Access, provider: Provider, tmp_path: Path
) -> None:
    with open_host(Settings.from_environment({"AXO_HOME": str(tmp_path)})) as host:
        transport = EmbeddedTransport(make_app(host.service, access))
        leads = provider.token(groups=["ml-leads"])
        with (
            Client("http://axo", leads, transport=transport, project="routing") as client,
            pytest.raises(ForbiddenError, match="needs the role admin"),
        ):
            client.keys()
        transport = EmbeddedTransport(make_app(host.service, access))
        with Client("http://axo", leads, transport=transport, project="triage") as client:
            assert client.create_key("ci", "viewer").creator == "oidc/ann"
        transport = EmbeddedTransport(make_app(host.service, access))
        bad = {"Authorization": "Bearer nothing"}
        with httpx.Client(base_url="http://axo", transport=transport, headers=bad) as http:
            statuses = [http.get("/api/v1/runs").status_code for _ in range(FAILURES + 1)]
            assert statuses == [401] * FAILURES + [429]
            assert http.get("/api/v1/runs").headers["retry-after"] == "60"


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_people_behind_a_trusted_proxy_wait_for_themselves_alone(tmp_path: Path, header: str) -> None:
    def statuses(section: AccessSection) -> list[int]:
        """Of many bad credentials from one address, then of one from another."""
        with open_host(Settings.from_environment({"AXO_HOME": str(tmp_path)})) as host:
            app = make_app(host.service, Access(host.service.database, lambda: NOW, section=section))
            with httpx.Client(base_url="http://axo", transport=EmbeddedTransport(app)) as http:
                for number in range(FAILURES):
                    http.get("/api/v1/runs", headers=coming_from(f"203.0.113.{number}, 198.51.100.1"))
                return [
                    http.get("/api/v1/runs", headers=coming_from(address)).status_code
                    for address in ("198.51.100.1", "198.51.100.2")
                ]

    def coming_from(addresses: str) -> dict[str, str]:
        hops = addresses if header == "X-Forwarded-For" else f"for={addresses.replace(', ', ', for=')}"
        return {"Authorization": "Bearer nothing", header: hops}

    here = {"proxies": ["127.0.0.0/8"], "proxy_header": header}
    assert statuses(AccessSection.model_validate(here)) == [429, 401]
    assert statuses(AccessSection()) == [429, 429]  # nobody is believed: all come from the proxy
    other = {**here, "proxy_header": "Forwarded" if header == "X-Forwarded-For" else "X-Forwarded-For"}
    assert statuses(AccessSection.model_validate(other)) == [429, 429]


def test_the_audit_log_has_the_address_that_a_trusted_proxy_tells(tmp_path: Path) -> None:
    def recorded(section: AccessSection | None, hops: str | None) -> str | None:
        with open_host(Settings.from_environment({"AXO_HOME": str(tmp_path)})) as host:
            database = host.service.database
            who = Caller() if section is None else Access(database, lambda: NOW, Caller(), section)
            transport = EmbeddedTransport(make_app(host.service, who))
            headers = {} if hops is None else {"X-Forwarded-For": hops}
            with httpx.Client(base_url="http://axo", transport=transport, headers=headers) as http:
                http.put("/api/v1/mappings/tickets", json={"text": "text: '{{ a }}'\n"}).raise_for_status()
            return database.changes(limit=1)[0].change.address

    believed = AccessSection(proxies=["127.0.0.0/8"])
    assert recorded(believed, "203.0.113.9, 198.51.100.1") == "198.51.100.1"
    assert recorded(believed, None) == "127.0.0.1"
    assert recorded(believed, "' OR 1=1 --") == "127.0.0.1"
    assert recorded(AccessSection(), "198.51.100.1") == "127.0.0.1"
    assert recorded(None, "198.51.100.1") == "", "nobody came over a network"


def test_one_network_of_ipv6_is_one_address_and_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    throttle = Throttle()
    for number in range(FAILURES):
        throttle.failed(f"2001:db8::{number:x}", 0.0)
    with pytest.raises(ThrottledError):
        throttle.check("2001:db8::ffff", "x", 1.0)
    throttle.check("2001:db8:0:1::1", "x", 1.0)
    monkeypatch.setattr("orchestrator.access.throttle.MOST", 100)
    for number in range(1000):
        throttle.failed(f"10.0.{number // 256}.{number % 256}", 0.0)
        throttle.good(str(number))
    assert (len(throttle._failures), len(throttle._good)) == (100, 100)
