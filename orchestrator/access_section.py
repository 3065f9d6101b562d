"""The section `access` of the settings file: who may ask the service, and under which names it is asked."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from orchestrator.spec.base import Closed

_Host = Annotated[str, StringConstraints(max_length=253, pattern=r"^[a-z0-9.-]+$|^\[[0-9a-f:.]+\]$")]


class AccessSection(Closed):
    """Who may ask the service. Without a key it listens on its own machine alone."""

    required: bool = Field(
        default=False, description="Want a credential even on this machine, and before the first key is made."
    )
    hosts: list[_Host] = Field(
        default=[],
        max_length=50,
        description="Names that clients reach it by, besides those of this machine.",
    )
