"""What the engine says of a container, as an observation.

| engine's state            | phase                                                                      |
| ------------------------- | -------------------------------------------------------------------------- |
| created                   | missing: it was never started, and launching again starts it               |
| running, paused           | running                                                                    |
| restarting, removing      | running: it changes, look again                                            |
| exited, dead              | ended                                                                      |
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

from orchestrator.reasons import Reason
from orchestrator.runs import Observation, Phase

_ENDED = ("exited", "dead")
_KILLED = 128 + signal.SIGKILL


def observation(state: Mapping[str, Any], *, stopped: bool) -> Observation:
    """What a container's `State` comes to; `stopped` is whether we asked it to leave.

    No field tells the cause alone: `OOMKilled` may mean a child, and 137 any SIGKILL.
    """
    status = state["Status"]
    if status == "created":
        return Observation(Phase.MISSING, detail=state.get("Error") or "")
    if status not in _ENDED:
        return Observation(Phase.RUNNING)
    code = int(state["ExitCode"])
    if state.get("OOMKilled") and code == _KILLED and not stopped:
        return Observation(Phase.ENDED, code, "it outgrew its memory limit", Reason.OUT_OF_MEMORY)
    return Observation(Phase.ENDED, code, _spoken(code, state))


def _spoken(code: int, state: Mapping[str, Any]) -> str:
    if error := state.get("Error"):
        return f"the container left with exit code {code}: {error}"
    if code > 128 and code - 128 in set(signal.Signals):
        return f"the container was ended by {signal.Signals(code - 128).name}"
    child = "; a process in it was killed at its memory limit" if state.get("OOMKilled") else ""
    return f"the container left with exit code {code}{child}"
