"""How a training attempt tells the service what its metric record says, beside writing that to storage.

A report is the record's next whole lines and the offset that they start at; nothing is reported that
storage does not have. The service answers with the offset that it has come to, from whichever source, so
that a report may be repeated, overlap with what was read from storage, or be left out.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

REPORT_URL = "AXO_REPORT_URL"  # variables of the launch's environment: where the service is,
REPORT_TOKEN = "AXO_REPORT_TOKEN"  # and the file with the launch's credential
REPORTS = "/api/v1/reports/"
MAX_REPORT_BYTES = 256 * 1024


@dataclass(frozen=True)
class Taken:
    """The service's answer: it knows the record up to `offset`, and would hear more in `again` seconds."""

    offset: int
    again: float

    @classmethod
    def from_json(cls, data: bytes) -> Taken:
        raw = json.loads(data)
        return cls(int(raw["offset"]), float(raw["again"]))


def report_path(run: str, launch: int, attempt: int) -> str:
    """Where an attempt reports to; `offset` follows as the query."""
    return f"{REPORTS}{run}/{launch}/{attempt}"
