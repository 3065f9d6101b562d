"""What a step is to do, and with what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orchestrator.contract import Fence, LaunchPlan, Store


@dataclass(frozen=True)
class Work:
    """What a step is given: its plan, storage, a scratch folder, the fence, and a way to say things."""

    plan: LaunchPlan
    storage: Store
    scratch: Path
    fence: Fence
    say: Callable[[str], None]
