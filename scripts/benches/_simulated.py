"""A backend whose launches are lines of a file: who launched what, and when each ended.

It is one party to the file; whoever else adds a line ends a launch, as a machine would. So it outlives the
process of the service, as launches do.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benches._measure import memory
from orchestrator.backends import LaunchRequest
from orchestrator.host import open_host
from orchestrator.runs import Observation, Phase
from orchestrator.settings import Settings

REST_SECONDS = 0.02
_SEEN = {None: Observation(Phase.RUNNING), 0: Observation(Phase.ENDED, 0), 1: Observation(Phase.ENDED, 1)}


class SimulatedBackend:
    """Keeps every promise of a backend but that something runs. It counts what it is asked."""

    vouches = False

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0
        self._codes: dict[str, int | None] = {}
        self._turn = threading.Lock()
        self._hear: Callable[[str], None] = lambda _name: None
        self.looks = 0
        self.looked_at: set[str] = set()
        self._take_in()
        threading.Thread(target=self._follow, name="simulated", daemon=True).start()

    def request(self, launch: LaunchRequest) -> Mapping[str, Any]:
        return {"name": launch.name}

    def check(self, launch: LaunchRequest) -> None:
        """None is refused."""

    def launch(self, launch: LaunchRequest) -> None:
        with self._turn:
            if launch.name not in self._codes:
                tell(self._file, launch.name, None)
                self._codes[launch.name] = None

    def observe(self, name: str) -> Observation:
        self.looks += 1
        self.looked_at.add(name)
        return _SEEN[self._codes[name]] if name in self._codes else Observation(Phase.MISSING)

    def on_news(self, hear: Callable[[str], None]) -> None:
        self._hear = hear

    def stop(self, name: str, now: float) -> None:
        tell(self._file, name, 0)

    def logs(self, name: str) -> str:
        return ""

    def launches(self) -> Sequence[str]:
        return sorted(self._codes)

    def remove(self, name: str) -> None:
        """What has ended stays in the file."""

    def note_checkpoint(self, name: str, step: int, saved: float) -> None:
        """Nobody takes its place."""

    def holder(self, credential: str) -> str | None:
        return None

    def close(self) -> None:
        """Nothing is held."""

    def _follow(self) -> None:
        while True:
            time.sleep(REST_SECONDS)
            self._take_in()

    def _take_in(self) -> None:
        """Take in whole lines that are new."""
        if not self._file.exists() or self._file.stat().st_size == self._read:
            return
        with self._file.open("rb") as file:
            file.seek(self._read)
            fresh = file.read()
        fresh = fresh[: fresh.rfind(b"\n") + 1]
        self._read += len(fresh)
        for line in fresh.splitlines():
            name, code = json.loads(line)
            self._codes[name] = code
            self._hear(name)


def tell(file: Path, name: str, code: int | None) -> None:
    """Say that a launch was made (no code), or how it ended."""
    with file.open("a") as handle:
        handle.write(json.dumps([name, code]) + "\n")


def main() -> None:
    """A service that drives runs; each line on its input is answered by its figures so far."""
    settings = Settings.from_environment()
    backend = SimulatedBackend(settings.home / "simulated")
    with open_host(settings, backend=backend) as host, host.driving():
        for _ in sys.stdin:
            used = time.process_time()
            figures = {"looks": backend.looks, "looked_at": len(backend.looked_at), "processor": used}
            print(json.dumps(figures | {"memory": memory()}), flush=True)


if __name__ == "__main__":
    main()
