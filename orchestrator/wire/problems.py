"""Why a request was not done."""

from __future__ import annotations

from pydantic import Field

from orchestrator.errors import Fault
from orchestrator.wire.base import Told


class Problem(Told):
    """Why a request was not done."""

    code: str = Field(description="The kind of error, to programs.", examples=["not_found"])
    message: str
    hint: str | None = Field(default=None, description="What to try next.")
    path: str | None = Field(default=None, description="The field or parameter it is about.")
    request_id: str = Field(description="Stands in the service's log too.")
    faults: list[Fault] = Field(default=[])


class ProblemBody(Told):
    """The one error body."""

    error: Problem
