"""Who a request comes from, by the credential it carries."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from orchestrator.access.keys import key_digest, key_id
from orchestrator.db import Database, Key
from orchestrator.errors import AuthError
from orchestrator.service.caller import Caller, Role

_HINT = "`axo login` takes a key of this service; an admin of the project makes one with `axo admin keys`"


class Access:
    """Tells callers by their credentials.

    `anonymous` is who comes without one, for as long as there has never been a key.
    """

    def __init__(
        self, database: Database, clock: Callable[[], float], anonymous: Caller | None = None
    ) -> None:
        self._database, self._clock, self._anonymous = database, clock, anonymous

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


def _over(key: Key, now: float) -> bool:
    return key.revoked is not None or (key.expires is not None and key.expires <= now)
