"""Strings that look like secrets: a spec is kept in git, storage and MLflow, so it holds none.

The patterns mean the same to Python and to Polars, which looks for them in data.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{0,20}"
_KINDS: tuple[tuple[str, str], ...] = (
    ("a key of this service", r"axo_[a-z0-9]{8}_[A-Za-z0-9]{43,}"),
    ("a Hugging Face token", r"hf_[A-Za-z0-9]{20,}"),
    ("an AWS access key", r"(?:AKIA|ASIA)[0-9A-Z]{16}"),
    ("a GitHub token", r"gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}"),
    ("a GitLab token", r"glpat-[A-Za-z0-9_-]{20,}"),
    ("an OpenAI or Anthropic key", r"sk-[A-Za-z_-]{0,40}[0-9][A-Za-z0-9_-]{16,}"),
    ("a Slack token", r"xox[abeoprs]-[A-Za-z0-9-]{10,}"),
    ("a Google key", r"AIza[0-9A-Za-z_-]{35}"),
    ("a private key", r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"),
    ("a Stripe key", r"[rs]k_live_[A-Za-z0-9]{20,}"),
    ("a PyPI token", r"pypi-AgE[A-Za-z0-9_-]{40,}"),
    ("an npm token", r"npm_[A-Za-z0-9]{36}"),
    ("a JSON web token", r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    ("a password in an address", _SCHEME + r"://[^/\s:@]{0,100}:[^/\s@]{1,200}@"),
)
_SECRET = re.compile("|".join(f"(?P<kind{number}>{pattern})" for number, (_, pattern) in enumerate(_KINDS)))
_SECRET_OF_ITS_OWN = re.compile(f"(?<![A-Za-z0-9])(?:{_SECRET.pattern})")
_SHOWN = 4
# All that looks like a secret with the character before it, and what every such string has in it: this one
# begins with letters that can be looked for, which makes it twenty times as fast.
WITH_NEIGHBOUR = f"(?s:.?)(?:{'|'.join(pattern for _, pattern in _KINDS)})"
LIKE_A_SECRET = "|".join(pattern.removeprefix(_SCHEME) for _, pattern in _KINDS)


class Secret(NamedTuple):
    """A string that looks like a secret: where it starts, what it looks like, what may be shown of it."""

    start: int
    kind: str
    shown: str


def find_secret(text: str) -> Secret | None:
    """The first string in `text` that looks like a secret."""
    found = _SECRET_OF_ITS_OWN.search(text)
    if not found:
        return None
    kind = _KINDS[int(str(found.lastgroup).removeprefix("kind"))][0]
    return Secret(found.start(), kind, redact(found[0]))


def redact(text: str) -> str:
    """`text` with whatever looks like a secret cut to its first characters, even inside a word."""
    return _SECRET.sub(lambda found: f"{found[0][:_SHOWN]}…", text)
