"""Whether JSON values come back from a file as they are: columns have one order of fields, and one kind of
value in each, for all rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Path = tuple[str, ...]
_ITEM = "[]"
_BEYOND = 2**63


@dataclass
class Columns:
    """The fields that values had so far; it grows with their names, not with the values."""

    _kinds: dict[Path, type] = field(default_factory=dict)
    _places: dict[Path, dict[str, int]] = field(default_factory=dict)

    def hold(self, value: Any, path: Path = ()) -> bool:
        """Whether a value keeps its order and its kinds beside those before it."""
        if value is None:
            return True
        if self._kinds.setdefault(path, type(value)) is not type(value):
            return False
        if isinstance(value, Mapping):
            known = self._places.setdefault(path, {})
            places = [known.setdefault(name, len(known)) for name in value]
            inner = (self.hold(each, (*path, name)) for name, each in value.items())
            return places == sorted(places) and all(inner)
        if isinstance(value, list):
            return all(self.hold(each, (*path, _ITEM)) for each in value)
        return not isinstance(value, int) or -_BEYOND <= value < _BEYOND
