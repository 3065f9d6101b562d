"""The section `access` of the settings file: who may ask the service, and under which names it is asked."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints

from orchestrator.spec.base import Closed, Label, Name, broken_rule

# Signatures that only the provider can make: no `none`, and nothing with a shared secret.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _secure(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise broken_rule("who listens in could forge every token", "use https")
    return url


def _network(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise broken_rule(f"it is no network: {error}", "write it as 10.0.0.0/8, or one address") from error
    return text


_Network = Annotated[str, StringConstraints(max_length=50), AfterValidator(_network)]
_Listen = Annotated[
    str, StringConstraints(max_length=300, pattern=r"^([a-z0-9.-]+|\[[0-9a-f:.]+\]):[0-9]{1,5}$")
]
_Url = Annotated[
    str, StringConstraints(max_length=1000, pattern=r"^https?://[^\s/?#@]+[^\s?#]*$"), AfterValidator(_secure)
]
_Host = Annotated[str, StringConstraints(max_length=253, pattern=r"^[a-z0-9.-]+$|^\[[0-9a-f:.]+\]$")]


class Grant(Closed):
    """What the holders of a claim's value may do."""

    group: Label = Field(description="A value of the token's claim `groups_claim`.")
    project: Name = Field(description="The project it opens.")
    role: Literal["viewer", "submitter", "admin"] = Field(description="The role there.")


class OidcSection(Closed):
    """An identity provider whose signed tokens are credentials (OpenID Connect)."""

    issuer: _Url = Field(
        description="What tokens must name as `iss`, exactly; its discovery document lies there."
    )
    audience: Label = Field(description="What tokens must name as `aud`: this service.")
    algorithms: list[Algorithm] = Field(
        default=["RS256"], min_length=1, max_length=10, description="Signatures that are taken."
    )
    keys_url: _Url | None = Field(
        default=None, description="Where the provider's keys are; its discovery document says so otherwise."
    )
    groups_claim: Label = Field(
        default="groups", description="The claim, a text or a list of texts, that grants are by."
    )
    name_claim: Label = Field(default="sub", description="The claim that people go by in what is recorded.")
    leeway_seconds: float = Field(
        default=30.0, ge=0, le=300, description="By how much the clocks of provider and service may differ."
    )
    grants: list[Grant] = Field(
        min_length=1, max_length=1000, description="Who may do what; of several the highest role counts."
    )


class AccessSection(Closed):
    """Who may ask the service. Without a key and without `oidc` it listens on its own machine alone."""

    required: bool = Field(
        default=False, description="Want a credential even on this machine, and before the first key is made."
    )
    hosts: list[_Host] = Field(
        default=[],
        max_length=50,
        description="Names that clients reach it by, besides those of this machine.",
    )
    oidc: OidcSection | None = Field(default=None, description="An identity provider whose tokens count.")
    secrets: list[Name] = Field(
        default=[],
        max_length=100,
        description="Named secrets that specs may name of those who come with a credential, where launches "
        "run on this machine or in Docker; on a cluster `kubernetes.secrets` says so.",
    )
    proxies: list[_Network] = Field(
        default=[],
        max_length=50,
        description="Networks of the proxies before it, whose word counts on where a request comes from.",
    )
    proxy_header: Literal["X-Forwarded-For", "Forwarded"] = Field(
        default="X-Forwarded-For",
        description="The header in which those proxies say it; they must write it themselves.",
    )
    metrics: _Listen | None = Field(
        default=None,
        description="An address with its port where Prometheus reads `/metrics` without a credential, "
        "such as 127.0.0.1:8521; nothing else is answered there.",
    )
