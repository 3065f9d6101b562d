"""Who a request comes from, by the credential it carries: a key of ours, or an identity provider's token."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_network

from orchestrator.access.addresses import client_address, hops_of
from orchestrator.access.keys import key_digest, key_id
from orchestrator.access.provider import Provider, SignerKeys
from orchestrator.access.throttle import Throttle
from orchestrator.access.tokens import Holder, NotBelieved, read_token
from orchestrator.access_section import AccessSection, Grant, OidcSection
from orchestrator.db import Database, Key
from orchestrator.errors import AuthError, DatabaseError, ForbiddenError, SettingsError
from orchestrator.service.caller import Caller, Role
from orchestrator.settings import Settings

_HINT = (
    "`axo login` takes a key of this service, which an admin of the project makes with `axo admin keys`, or "
    "a token of its identity provider, where it has one"
)
_log = logging.getLogger(__name__)


class Access:
    """Tells callers by their credentials.

    `anonymous` is who comes without one, for as long as there has never been a key.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float],
        anonymous: Caller | None = None,
        section: AccessSection | None = None,
    ) -> None:
        self._database, self._clock, self._anonymous = database, clock, anonymous
        self._section = section or AccessSection()
        self._oidc = oidc = self._section.oidc
        self._proxies = [ip_network(each) for each in self._section.proxies]
        self._provider = _keys_of(oidc, clock) if oidc else None
        self._throttle = Throttle()

    @property
    def hosts(self) -> Sequence[str]:
        """The names that the service goes by, besides those of its machine."""
        return self._section.hosts

    def address(self, peer: str, lines: Callable[[str], Sequence[str]]) -> str:
        """Where a request comes from, by the peer of its connection and the lines of its headers."""
        if not self._proxies:
            return peer
        header = self._section.proxy_header
        hops = hops_of(lines(header), forwarded=header == "Forwarded")
        return client_address(peer, hops, self._proxies)

    def caller(self, credential: str | None, project: str | None = None, address: str = "") -> Caller:
        """Who holds a credential, in the project that they say where theirs is good for several.

        Raises:
            AuthError: nobody, or not any more; which of these is not told.
            ThrottledError: too many such came from the address.
            ForbiddenError: it is not good for that project.
            UnreachableError: the identity provider cannot be asked for its keys.
        """
        if credential is None:
            return self._nobody()
        self._throttle.check(address, credential, self._clock())
        try:
            caller = self._by_key(credential, project) or self._by_token(credential, project)
        except AuthError:
            self._throttle.failed(address, self._clock())
            raise
        self._throttle.good(credential)
        return caller

    def _nobody(self) -> Caller:
        if self._anonymous is not None and not self._database.any_key():
            return self._anonymous
        self._anonymous = None
        raise AuthError("this service wants to know who asks", hint=_HINT)

    def _by_key(self, credential: str, project: str | None) -> Caller | None:
        """The holder of a key; None for what does not look like one."""
        name, now = key_id(credential), self._clock()
        if name is None:
            return None
        key = self._database.key(name)
        # A key that is not there is compared too, so that its answer takes as long.
        held = hmac.compare_digest(key_digest(credential), key.digest if key else "0" * 64)
        if key is None or not held or _over(key, now):
            raise _unknown()
        if project not in (None, key.project):
            raise ForbiddenError(f"this key is good for the project {key.project} alone")
        self._note_used(key, now)
        return Caller(key.project, Role.of(key.role), f"{key.name}/{key.id}")

    def _note_used(self, key: Key, now: float) -> None:
        """Remember that a key was used; while the database takes no writes, who only reads is let in too."""
        try:
            self._database.note_key_used(key, now)
        except DatabaseError as error:
            _log.warning("it is not noted that the key %s was used: %s", key.id, error)

    def _by_token(self, credential: str, project: str | None) -> Caller:
        if self._oidc is None or self._provider is None:
            raise _unknown()
        try:
            holder = read_token(credential, self._oidc, self._provider, self._clock())
        except NotBelieved as reason:
            _log.info("a token is not believed: %s", reason)
            raise _unknown() from reason
        granted = _granted(holder, self._oidc.grants)
        chosen = _chosen(project, granted)
        return Caller(chosen, granted[chosen], f"oidc/{holder.name}")


def open_access(settings: Settings, database: Database, clock: Callable[[], float], *, here: bool) -> Access:
    """Who may come in, where the service listens: on its own machine (`here`), or beyond it.

    Raises:
        SettingsError: beyond it, and nothing would tell who asks.
    """
    section = settings.access
    required = section is not None and (section.required or section.oidc is not None)
    if not here and not required and not database.any_key():
        raise SettingsError(
            "listening beyond this machine without knowing who asks would let anybody run anything",
            hint="make a key first: `axo admin keys create NAME --role admin`; or listen on 127.0.0.1",
        )
    return Access(database, clock, Caller(operator=True) if here and not required else None, section)


def _keys_of(oidc: OidcSection, clock: Callable[[], float]) -> SignerKeys:
    return SignerKeys("the identity provider", Provider(oidc.issuer, oidc.keys_url).keys, clock)


def _over(key: Key, now: float) -> bool:
    return key.revoked is not None or (key.expires is not None and key.expires <= now)


def _unknown() -> AuthError:
    return AuthError("this credential is not known, has expired or was revoked", hint=_HINT)


def _granted(holder: Holder, grants: Iterable[Grant]) -> dict[str, Role]:
    """The projects that somebody's groups open, each with the highest role of several."""
    found: dict[str, Role] = {}
    for grant in grants:
        if grant.group in holder.groups:
            role = Role.of(grant.role)
            found[grant.project] = max(role, found.get(grant.project, role))
    return found


def _chosen(project: str | None, granted: dict[str, Role]) -> str:
    """The project somebody means.

    Raises:
        ForbiddenError: it is not theirs, or none is, or several are and none is said.
    """
    if project is None and len(granted) == 1:
        return next(iter(granted))
    if project in granted:
        return project
    if not granted:
        raise ForbiddenError("no project is open to you", hint="the operator grants them to groups")
    hint = f"yours are {', '.join(sorted(granted))}; the header Axo-Project names one"
    raise ForbiddenError(
        "say which project you mean" if project is None else "that project is not yours", hint=hint
    )
