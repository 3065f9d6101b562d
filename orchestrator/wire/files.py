"""Uploaded files."""

from __future__ import annotations

from pydantic import Field

from orchestrator.wire.base import Asked, Sha256, Told


class FileAsked(Asked):
    """A file that a client means to upload."""

    sha256: Sha256 = Field(description="SHA-256 of the whole file, in hex.", examples=["0" * 64])
    size: int = Field(ge=0, le=2**53, description="Its bytes.", examples=[1_048_576])


class File(Told):
    """An uploaded file, or one that is on its way.

    It goes in parts of `part_size` bytes, the last one shorter, in any order; then it is finished.
    """

    sha256: Sha256
    size: int
    part_size: int = Field(description="Bytes of every part but the last.")
    missing: list[int] = Field(description="The parts that have not arrived, counted from 0.")
    complete: bool = Field(description="Whether it is finished: a spec may name it.")
    created: float
