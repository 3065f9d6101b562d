"""Runs one attempt of a step; signal handlers stand before heavy imports."""

import sys

from orchestrator.steps.attempt import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
