"""API keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from orchestrator.spec.base import Name
from orchestrator.wire.base import Asked, Told

KeyId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{8}$")]
RoleName = Literal["viewer", "submitter", "admin"]


class KeyAsked(Asked):
    """An API key to be made for the asker's project."""

    name: Name = Field(description="Who or what will hold it.", examples=["ci"])
    role: RoleName = Field(description="What its holder may do.")
    days: int = Field(default=365, ge=1, le=3650, description="Days until it expires.")


class Key(Told):
    """An API key without its text; `used` is right to five minutes."""

    id: str
    project: str
    name: str
    role: RoleName
    created: float
    creator: str
    expires: float | None = None
    revoked: float | None = None
    used: float | None = None


class FreshKey(Key):
    """A key as it is made, with its text: it is not kept, and never told again."""

    key: str
