"""Signed bearer tokens, such as an identity provider's (OpenID Connect): what they say, if they are believed.

Issuer, audience and algorithms are the operator's, never the token's; the key is one of the provider's
that the token names by `kid`, and of the token's own algorithm. Whatever else a token's header says of
keys (`jwk`, `jku`, `x5u`, `x5c`) is not looked at. Rules: RFC 8725.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.access.provider import SignerKeys
from orchestrator.access_section import OidcSection

if TYPE_CHECKING:
    import jwt

MAX_CHARACTERS = 16 * 1024
_FAR = 1e12  # seconds since 1970
_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
# Time is judged here, by a clock that is an argument.
_CHECKS: Any = {
    "require": ["exp", "iat", "iss", "aud", "sub"],
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "enforce_minimum_key_length": True,
}


class NotBelieved(Exception):
    """The token is not to be believed; the text tells the log why, and has nothing of the token."""


@dataclass(frozen=True)
class Holder:
    """Whom a token speaks of: the name they go by, and their groups."""

    name: str
    groups: frozenset[str]


@dataclass(frozen=True)
class Trusted:
    """What a token must say to be believed: who issued it, for whom, and how it is signed."""

    issuer: str
    audience: str
    algorithms: Sequence[str]
    leeway: float = 30.0


def read_token(text: str, section: OidcSection, keys: SignerKeys, now: float) -> Holder:
    """Whom a token speaks of.

    Raises:
        NotBelieved: it is not to be believed.
        UnreachableError: the provider's keys cannot be had.
    """
    trusted = Trusted(section.issuer, section.audience, section.algorithms, section.leeway_seconds)
    claims = read_claims(text, trusted, keys, now)
    return Holder(_name(claims, section.name_claim), _groups(claims, section.groups_claim))


def read_claims(text: str, trusted: Trusted, keys: SignerKeys, now: float) -> Mapping[str, Any]:
    """What a token says. Raises as `read_token` does."""
    import jwt

    if len(text) > MAX_CHARACTERS:
        raise NotBelieved("it is too long")
    try:
        key = _key(jwt.get_unverified_header(text), trusted, keys)
        claims: Mapping[str, Any] = jwt.PyJWT(options=_CHECKS).decode(
            text,
            key,
            algorithms=[key.algorithm_name],
            audience=trusted.audience,
            issuer=trusted.issuer,
            options=_CHECKS,
        )
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
        raise NotBelieved(type(error).__name__) from error
    _check_times(claims, now, trusted.leeway)
    return claims


def _key(header: Mapping[str, Any], trusted: Trusted, keys: SignerKeys) -> jwt.PyJWK:
    import jwt

    algorithm, name = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in trusted.algorithms:
        raise NotBelieved("its algorithm is none that is taken")
    found = keys.key(name) if isinstance(name, str) else None
    if found is None:
        raise NotBelieved("it names no key of the signer")
    if found.get("kty") != _KINDS[algorithm[:2]] or found.get("alg", algorithm) != algorithm:
        raise NotBelieved("the key that it names is for another algorithm")
    return jwt.PyJWK(dict(found), algorithm)


def _check_times(claims: Mapping[str, Any], now: float, leeway: float) -> None:
    """Raises NotBelieved outside of its time; each of the three is a number of seconds since 1970."""
    times = {name: claims[name] for name in ("exp", "iat", "nbf") if name in claims}
    if any(
        isinstance(t, bool) or not isinstance(t, int | float) or not abs(t) < _FAR for t in times.values()
    ):
        raise NotBelieved("one of its times is no number")
    if times["exp"] + leeway <= now:
        raise NotBelieved("it has expired")
    if max(times["iat"], times.get("nbf", times["iat"])) - leeway > now:
        raise NotBelieved("it is of the future")


def _name(claims: Mapping[str, Any], claim: str) -> str:
    """What a person goes by, as one printable word of bounded length."""
    found = _claim(claims, claim)
    if not isinstance(found, str) or not found:
        raise NotBelieved("it has no name in the claim that people go by")
    return "".join(letter if letter.isprintable() else "?" for letter in found)[:150]


def _groups(claims: Mapping[str, Any], claim: str) -> frozenset[str]:
    found = _claim(claims, claim)
    listed = found if isinstance(found, list) else [found]
    return frozenset(group for group in listed if isinstance(group, str))


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by the way to it, such as `realm_access.roles`."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
