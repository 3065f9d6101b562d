"""When a launch was first asked to leave, as a file remembers it over all restarts of ours."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def first_asked(file: Path, now: float) -> float:
    """The time in the file; `now` where there is none, which it holds from then on.

    It appears whole: what a death could leave half written would make a launch that nobody can stop.
    """
    if not file.exists() or not file.stat().st_size:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_name(f".{file.name}-{os.getpid()}-{threading.get_ident()}")
        fresh.write_text(str(now))
        fresh.replace(file)
    return float(file.read_text())
