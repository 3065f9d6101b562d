"""What writers left in storage who were killed: files that nobody finishes any more."""

from __future__ import annotations

import glob
import logging
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote, urlparse

from orchestrator import contract
from orchestrator.settings import PROJECT, Settings

DAY_SECONDS = 24 * 3600.0
# Where large files are written; what is left elsewhere in a run's folder is small, and goes with it.
FOLDERS = ("uploads", "models", "datasets", "runs/*/checkpoints", "runs/*/adapter")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Leftovers:
    """Removes unfinished files from storage that is a folder; `clock` gives seconds since 1970.

    A file that is being written was changed just now: what has lain for a day is nobody's, however much
    clocks differ.
    """

    settings: Settings
    clock: Callable[[], float]

    def turn(self) -> float:
        """One look at the whole storage; seconds until the next."""
        url = urlparse(self.settings.storage)
        if url.scheme == "file":
            root = glob.escape(unquote(url.path)).replace(PROJECT, "*")
            for folder in FOLDERS:
                for place in glob.iglob(f"{root}/{folder}"):
                    with suppress(FileNotFoundError):  # its run was deleted meanwhile
                        self._sweep(place)
        return DAY_SECONDS

    def _sweep(self, top: str) -> None:
        """Go through a folder, and through no link: code of a model may have put some there."""
        before = self.clock() - DAY_SECONDS
        for folder, _, names, place in os.fwalk(top):
            for name in filter(_is_unfinished, names):
                with suppress(FileNotFoundError):
                    found = os.stat(name, dir_fd=place, follow_symlinks=False)
                    if stat.S_ISREG(found.st_mode) and found.st_mtime < before:
                        os.unlink(name, dir_fd=place)
                        _log.info("%s/%s is removed: its writer was killed", folder, name)


def _is_unfinished(name: str) -> bool:
    return name.startswith(contract.UNFINISHED)
