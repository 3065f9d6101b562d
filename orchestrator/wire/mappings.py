"""Mappings that specs may name."""

from __future__ import annotations

from pydantic import Field

from orchestrator.wire.base import MAX_SPEC_CHARACTERS, Asked, Sha256, Told


class MappingAsked(Asked):
    """A mapping that specs of the project may name."""

    text: str = Field(
        max_length=MAX_SPEC_CHARACTERS,
        description="Its YAML text, as a mapping file holds it.",
        examples=["conversation: {column: messages}\n"],
    )


class MappingListed(Told):
    """A mapping that specs of the project may name, without its text."""

    name: str
    sha256: Sha256 = Field(description="SHA-256 of its text, in hex.")
    updated: float


class NamedMapping(MappingListed):
    """A mapping that specs of the project may name."""

    text: str


class MappingPage(Told):
    """Mappings by their names; `cursor` asks for the next page, None at the end."""

    items: list[MappingListed]
    cursor: str | None = None
