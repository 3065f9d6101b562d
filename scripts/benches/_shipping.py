"""A service that takes reports and ships them to MLflow, and drives no run: what `metrics` measures."""

from __future__ import annotations

import sys
import threading
import time

from benches._serving import serving
from orchestrator.controller.ship import Shipping
from orchestrator.controller.track import Tracking
from orchestrator.controller.workers import turning
from orchestrator.host import open_host
from orchestrator.settings import Settings

if __name__ == "__main__":
    with open_host(Settings.from_environment()) as opened, serving(opened) as url:
        over = threading.Event()
        tracking = Tracking(opened.service.settings, opened.service.database)
        turning("shipping", Shipping(tracking, time.time, over).turn, over)
        print(url, flush=True)
        sys.stdin.read()  # until its end
        over.set()
