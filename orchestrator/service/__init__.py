"""What a user can ask for: the verbs that API and command line call, over database and storage.

A verb takes the `Caller` first, sees nothing outside the caller's project, waits for no backend, and for
MLflow only where what was published is read back, and answers with a body of `orchestrator.wire`. What a
run needs done is left to the controller: a verb writes what is wanted and marks the run as due.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from orchestrator.backends import Backend
from orchestrator.controller.heard import Heard
from orchestrator.db import Database
from orchestrator.errors import StorageError
from orchestrator.service.access import Access
from orchestrator.service.caller import LOCAL, Caller, Role
from orchestrator.service.catalogue import Catalogue
from orchestrator.service.datasets import Datasets
from orchestrator.service.files import Files
from orchestrator.service.keeping import Keeping
from orchestrator.service.keys import Keys
from orchestrator.service.mappings import Mappings
from orchestrator.service.plans import Plans
from orchestrator.service.reports import Reporter, Reports
from orchestrator.service.results import Results
from orchestrator.service.runs import Runs
from orchestrator.service.storage import need_storage
from orchestrator.settings import Settings

_log = logging.getLogger(__name__)

__all__ = ["LOCAL", "Access", "Caller", "Reporter", "Role", "Service"]


@dataclass
class Service:
    """The verbs, by what they are about; `news` is set whenever the controller has something to do."""

    settings: Settings
    database: Database
    backend: Backend
    clock: Callable[[], float] = time.time
    news: threading.Event = field(default_factory=threading.Event)
    heard: Heard = field(default_factory=Heard)

    def check(self) -> None:
        """Whether requests can be served; storage of a project's own is looked at with its first run.

        Raises:
            DatabaseError, StorageError: they cannot; what stands there is for everybody to read.
        """
        self.database.check()
        if self.settings.of("any") != self.settings:
            return
        try:
            need_storage(self.settings.storage)
        except StorageError as error:
            _log.warning("%s", error)
            raise type(error)("storage cannot be used", hint="the service's log says why") from error

    @property
    def runs(self) -> Runs:
        return Runs(self.settings, self.database, self.backend, self.clock, self.news)

    @property
    def results(self) -> Results:
        return Results(self.settings, self.database, self.clock, self.news)

    @property
    def keeping(self) -> Keeping:
        return Keeping(self.settings, self.database, self.clock)

    @property
    def keys(self) -> Keys:
        return Keys(self.database, self.clock)

    @property
    def files(self) -> Files:
        return Files(self.settings, self.database, self.clock)

    @property
    def datasets(self) -> Datasets:
        return Datasets(self.database, self.clock)

    @property
    def mappings(self) -> Mappings:
        return Mappings(self.database, self.clock)

    @property
    def catalogue(self) -> Catalogue:
        return Catalogue(self.settings, self.database)

    @property
    def plans(self) -> Plans:
        return Plans(self.settings, self.backend, self.runs)

    @property
    def reports(self) -> Reports:
        return Reports(self.database, self.backend, self.clock, self.heard, self.settings.points_per_run)
