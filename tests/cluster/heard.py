"""What the API server has heard from the service's account: the audit log of the node of scripts/cluster."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from node.places import AUDIT


@dataclass
class Heard:
    """Everything from here on, of one namespace and of none."""

    namespace: str
    _begin: int = field(default_factory=lambda: AUDIT.stat().st_size if AUDIT.exists() else 0)

    def pairs(self) -> set[tuple[str, str]]:
        """Each (resource, verb) that was asked."""
        return {
            (_resource(each["objectRef"]), each["verb"]) for each in self._entries() if "objectRef" in each
        }

    def refused(self) -> Sequence[str]:
        """Requests that the account had no right to make, or no name for."""
        return [
            f"{each['verb']} {each['requestURI']}"
            for each in self._entries()
            if each.get("responseStatus", {}).get("code") in (401, 403)
        ]

    def _entries(self) -> Sequence[Mapping[str, Any]]:
        with AUDIT.open() as log:
            log.seek(self._begin)
            entries = [json.loads(line) for line in log if line.endswith("\n")]
        ours = (None, self.namespace)
        return [each for each in entries if each.get("objectRef", {}).get("namespace") in ours]


def _resource(thing: Mapping[str, str]) -> str:
    below = thing.get("subresource")
    return f"{thing['resource']}/{below}" if below else thing["resource"]
