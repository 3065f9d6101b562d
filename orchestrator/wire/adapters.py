"""Finished adapters, and the versions that were published of them."""

from __future__ import annotations

from pydantic import Field

from orchestrator.wire.base import Sha256, Told
from orchestrator.wire.runs import Publication

IN_STORAGE = "adapter in storage"  # among what is verified of a run, beside the references of its versions


class AdapterFile(Told):
    """A file of a finished adapter, its path relative to the adapter's folder."""

    path: str
    size: int
    sha256: Sha256


class Adapter(Told):
    """A finished adapter: its files, with its card and provenance, as they are published.

    `digest` is that of what was trained: SHA-256 of the sorted `<sha256>  <path>` lines of its files
    without card and provenance.
    """

    run: str
    digest: Sha256
    files: list[AdapterFile]


class Model(Publication):
    """A published version, and the run that made it."""

    run: str
    name: str = Field(description="The run's name.")
    base_model: str
    run_deleted: bool = Field(default=False, description="Whether the run itself was deleted since.")
