"""The text of an API key: `axo_<id>_<secret><checksum>`.

The id is public and names the key in lists, logs and the audit log. The secret has 256 random bits, so
a plain SHA-256 of the key is stored: there is nothing to guess that a slow hash would protect. The
checksum (CRC-32) lets scanners and us tell a key from what only looks like one, without the database.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from typing import NamedTuple

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_ID, _SECRET, _CHECKSUM = 8, 43, 6  # characters; 43 digits of base 62 hold 256 bits, 6 hold 32
_FORM = re.compile(rf"(axo_([a-z0-9]{{{_ID}}})_[0-9A-Za-z]{{{_SECRET}}})([0-9A-Za-z]{{{_CHECKSUM}}})")


class FreshKey(NamedTuple):
    """A key as it is made: its public id, and its text, which is shown once and kept nowhere."""

    id: str
    text: str


def make_key() -> FreshKey:
    """A key that nobody can guess."""
    name = "".join(secrets.choice(_LETTERS) for _ in range(_ID))
    body = f"axo_{name}_{_base62(secrets.randbits(256), _SECRET)}"
    return FreshKey(name, body + _checksum(body))


def key_id(text: str) -> str | None:
    """The public id of a key, or None for a text that is none."""
    found = _FORM.fullmatch(text)
    return found[2] if found and _checksum(found[1]) == found[3] else None


def key_digest(text: str) -> str:
    """What is stored of a key: SHA-256, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), _CHECKSUM)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, len(_DIGITS))
        digits.append(_DIGITS[digit])
    return "".join(reversed(digits))
