"""Runs the parent; guarded, since a spawned worker of a data library imports this module again."""

import sys

from orchestrator.trainer.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
