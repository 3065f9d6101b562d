"""Runs the parent, its signal handlers first.

Guarded, since a spawned worker of a data library imports this module again.
"""

import sys

from orchestrator.signals import Signals

if __name__ == "__main__":
    signals = Signals()
    signals.listen()

    from orchestrator.trainer.main import main

    sys.exit(main(sys.argv[1:], signals))
