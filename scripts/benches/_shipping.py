"""A service that takes reports and ships them to MLflow, and drives no run: what `metrics` measures.

`python -m benches._shipping SHARE` keeps to that share of both paces.
"""

from __future__ import annotations

import sys
import threading
import time

from benches._serving import serving
from orchestrator.controller import heard, track
from orchestrator.controller.ship import Shipping
from orchestrator.controller.workers import turning
from orchestrator.host import open_host
from orchestrator.settings import Settings

if __name__ == "__main__":
    share = float(sys.argv[1])
    heard.REPORTS_PER_SECOND *= share
    track.REQUESTS_PER_SECOND *= share
    with open_host(Settings.from_environment()) as opened, serving(opened) as url:
        over = threading.Event()
        tracking = track.Tracking(opened.service.settings, opened.service.database)
        turning("shipping", Shipping(tracking, time.time, over).turn, over)
        print(url, flush=True)
        sys.stdin.read()  # until its end
        over.set()
