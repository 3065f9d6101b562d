"""Credentials that a command prints, as the command-line tools of identity providers do."""

from __future__ import annotations

import re
import shlex
import subprocess
import threading
from collections.abc import Generator

import httpx

from orchestrator.errors import AuthError

SECONDS = 300.0  # in which somebody may have to log in to a provider first
_TOKEN = re.compile(r"[\x21-\x7e]{1,20000}")


class TokenCommand(httpx.Auth):
    """Asks a command for a token, once, and anew where the service does not take the one it has: tokens last
    minutes, and what follows a run lasts longer. What it says on stderr goes to the person there, no shell is
    asked; threads may share it.
    """

    def __init__(self, command: str) -> None:
        self._command, self._token, self._asking = command, "", threading.Lock()

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Raises AuthError where the command prints no token."""
        kept = self._token
        request.headers["Authorization"] = f"Bearer {kept or self._fresh(kept)}"
        answer = yield request
        if answer.status_code == 401 and kept:
            request.headers["Authorization"] = f"Bearer {self._fresh(kept)}"
            yield request

    def _fresh(self, old: str) -> str:
        """Another token than that one, which another thread may have asked for already."""
        with self._asking:
            if self._token == old:
                self._token = self._asked()
            return self._token

    def _asked(self) -> str:
        hint = f"run it yourself: `{self._command}`; it must print a token, and nothing else"
        try:
            done = subprocess.run(
                shlex.split(self._command), stdout=subprocess.PIPE, timeout=SECONDS, check=True, text=True
            )
        except FileNotFoundError as error:
            raise AuthError(f"there is no command {error.filename}", hint=hint) from error
        except subprocess.CalledProcessError as error:
            what = f"the command for a token failed with exit code {error.returncode}"
            raise AuthError(what, hint=hint) from error
        except subprocess.TimeoutExpired as error:
            raise AuthError(f"the command for a token took {SECONDS:.0f} seconds", hint=hint) from error
        except (OSError, ValueError) as error:
            raise AuthError(f"the command for a token cannot be run: {error}", hint=hint) from error
        token = done.stdout.strip()
        if not _TOKEN.fullmatch(token):
            raise AuthError("the command for a token printed something else", hint=hint)
        return token
