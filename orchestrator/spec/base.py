"""What every model of a spec is made of: a closed model, and texts with a bound."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic_core import PydanticCustomError

NAME_PATTERN = r"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$"
ALIAS_PATTERN = r"^[A-Za-z][A-Za-z0-9_-]{0,99}$"

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=100_000)]
ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Alias = Annotated[str, StringConstraints(pattern=ALIAS_PATTERN)]


def broken_rule(what: str, fix: str, *at: str | int) -> PydanticCustomError:
    """The error of a rule over several fields: what is wrong, the fix, and the field it shows at."""
    return PydanticCustomError("spec_rule", "{what}", {"what": what, "fix": fix, "at": at})


class Closed(BaseModel):
    """A frozen model that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)

    @property
    def digest(self) -> str:
        """SHA-256 of what it says, defaults filled in: two texts that mean the same have the same."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
