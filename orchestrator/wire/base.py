"""What all bodies have in common: what is closed, what may grow, and the forms of their words."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

MAX_SPEC_CHARACTERS = 128 * 1024
MAX_ID = 2**53
MAX_NUMBER = 2**31 - 1  # of a launch or an attempt
MAX_PARTS = 1000

Word = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,250}$")]
Cursor = Annotated[str, StringConstraints(pattern=r"^[0-9.e+]{1,40}:[a-z0-9-]{1,100}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Asked(BaseModel):
    """A body that the client sends: closed, and of few parts."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    @model_validator(mode="before")
    @classmethod
    def _few(cls, sent: Any) -> Any:
        """Told once, since each part too many would be a fault of its own."""
        parts = [sent, *sent.values()] if isinstance(sent, dict) and len(sent) <= MAX_PARTS else [sent]
        if any(isinstance(part, dict | list) and len(part) > MAX_PARTS for part in parts):
            raise ValueError(f"it has more than {MAX_PARTS} parts")
        return sent


class Told(BaseModel):
    """A body that the service answers with: it may grow."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")
