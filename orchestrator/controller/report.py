"""Let a launch report: its token is made once, and is the same when launching is done again."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from orchestrator.backends import Backend, ReportTo, launch_name, token_file
from orchestrator.contract import StepKind
from orchestrator.db import Database
from orchestrator.settings import Settings

_TOKEN = "axo-report-"
_CHARACTERS = len(_TOKEN) + 43  # 256 random bits


def report_to(
    settings: Settings, database: Database, backend: Backend, run: str, number: int, step: StepKind
) -> ReportTo | None:
    """Where a launch reports to; None where it does not, and for steps that have no record."""
    if settings.report_url is None or step != "train":
        return None
    if backend.vouches:
        return ReportTo(settings.report_url)
    file = token_file(settings.home, launch_name(run, number))
    database.let_report(run, number, token_digest(_token_in(file)))
    return ReportTo(settings.report_url, file)


def token_digest(token: str) -> str:
    """What the database has of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def _token_in(file: Path) -> str:
    """The token of a file that only we can read; a new one where there is none, or none that is whole."""
    token = file.read_text() if file.exists() else ""
    if len(token) == _CHARACTERS:
        return token
    token = _TOKEN + secrets.token_urlsafe(32)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = file.with_name(f".{file.name}-{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(token)
    fresh.replace(file)
    return token
