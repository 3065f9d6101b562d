"""Who a request comes from, by the credential it carries."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence

from orchestrator.access.keys import key_digest, key_id
from orchestrator.db import Database, Key
from orchestrator.errors import AuthError, SettingsError
from orchestrator.service.caller import Caller, Role
from orchestrator.settings import Settings

_HINT = "`axo login` takes a key of this service; an admin of the project makes one with `axo admin keys`"


class Access:
    """Tells callers by their credentials.

    `anonymous` is who comes without one, for as long as there has never been a key. `hosts` are the
    names that the service goes by, besides those of its machine.
    """

    def __init__(
        self,
        database: Database,
        clock: Callable[[], float],
        anonymous: Caller | None = None,
        hosts: Sequence[str] = (),
    ) -> None:
        self._database, self._clock, self._anonymous, self.hosts = database, clock, anonymous, hosts

    def caller(self, credential: str | None) -> Caller:
        """Who holds a credential.

        Raises:
            AuthError: nobody, or not any more; which of these is not told.
        """
        if credential is None:
            return self._nobody()
        name, now = key_id(credential), self._clock()
        key = self._database.key(name) if name else None
        # A key that is not there is compared too, so that its answer takes as long.
        held = hmac.compare_digest(key_digest(credential), key.digest if key else "0" * 64)
        if key is None or not held or _over(key, now):
            raise AuthError("this credential is not known, has expired or was revoked", hint=_HINT)
        self._database.note_key_used(key, now)
        return Caller(key.project, Role[key.role.upper()], f"{key.name}/{key.id}")

    def _nobody(self) -> Caller:
        if self._anonymous is not None and not self._database.any_key():
            return self._anonymous
        self._anonymous = None
        raise AuthError("this service wants to know who asks", hint=_HINT)


def open_access(settings: Settings, database: Database, clock: Callable[[], float], *, here: bool) -> Access:
    """Who may come in, where the service listens: on its own machine (`here`), or beyond it.

    Raises:
        SettingsError: beyond it, and nothing would tell who asks.
    """
    required = bool(settings.access and settings.access.required)
    hosts = settings.access.hosts if settings.access else ()
    if not here and not required and not database.any_key():
        raise SettingsError(
            "listening beyond this machine without knowing who asks would let anybody run anything",
            hint="make a key first: `axo admin keys create NAME --role admin`; or listen on 127.0.0.1",
        )
    return Access(database, clock, Caller() if here and not required else None, hosts)


def _over(key: Key, now: float) -> bool:
    return key.revoked is not None or (key.expires is not None and key.expires <= now)
