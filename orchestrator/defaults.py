"""What the operator's settings are where nothing says otherwise, in the settings file's own units."""

from __future__ import annotations

from typing import Literal

BackendName = Literal["local", "docker", "kubernetes"]
SlowTemplates = Literal["allow", "forbid"]

BACKEND: BackendName = "local"
SLOW_TEMPLATES: SlowTemplates = "allow"
DATABASE_CONNECTIONS = 20
LAUNCHES_PER_SECOND = 10.0

FILE_GIB = 20
FILES_OF_A_PROJECT_GIB = 200
FREE_GIB = 1
POINTS_PER_RUN = 1_000_000

TEMPORARY_DAYS = 15
WARNING_DAYS = 2

STALL_SHOWN_MINUTES = 15
STALL_STOPPED_MINUTES = 120
