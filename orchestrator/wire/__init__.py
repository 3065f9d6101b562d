"""What the service and its client say to each other: the bodies of `/api/v1`.

Times are seconds since 1970. A newer service may say more: what a client does not know, it skips;
what a service does not know in a request, it refuses.
"""

from __future__ import annotations

from orchestrator.contract import MAX_STEP
from orchestrator.wire.adapters import IN_STORAGE, Adapter, AdapterFile, Model
from orchestrator.wire.base import (
    MAX_ID,
    MAX_NUMBER,
    MAX_SPEC_CHARACTERS,
    Asked,
    Cursor,
    Sha256,
    Told,
    Word,
)
from orchestrator.wire.catalogue import Dataset, Machine, Registry
from orchestrator.wire.files import File, FileAsked
from orchestrator.wire.keys import FreshKey, Key, KeyAsked, KeyId, RoleName
from orchestrator.wire.mappings import MappingAsked, MappingListed, MappingPage, NamedMapping
from orchestrator.wire.problems import Problem, ProblemBody
from orchestrator.wire.runs import Attempt, Deleted, Event, Figure, Publication, Run, RunDetail, RunPage
from orchestrator.wire.streams import (
    MAX_POINTS,
    LogPart,
    Point,
    Reported,
    Seen,
    Series,
    parse_seen,
    seen_text,
)
from orchestrator.wire.submissions import CloneAsked, IdempotencyKey, Plan, Submission

__all__ = [
    "IN_STORAGE",
    "MAX_ID",
    "MAX_NUMBER",
    "MAX_POINTS",
    "MAX_SPEC_CHARACTERS",
    "MAX_STEP",
    "Adapter",
    "AdapterFile",
    "Asked",
    "Attempt",
    "CloneAsked",
    "Cursor",
    "Dataset",
    "Deleted",
    "Event",
    "Figure",
    "File",
    "FileAsked",
    "FreshKey",
    "IdempotencyKey",
    "Key",
    "KeyAsked",
    "KeyId",
    "LogPart",
    "Machine",
    "MappingAsked",
    "MappingListed",
    "MappingPage",
    "Model",
    "NamedMapping",
    "Plan",
    "Point",
    "Problem",
    "ProblemBody",
    "Publication",
    "Registry",
    "Reported",
    "RoleName",
    "Run",
    "RunDetail",
    "RunPage",
    "Seen",
    "Series",
    "Sha256",
    "Submission",
    "Told",
    "Word",
    "parse_seen",
    "seen_text",
]
