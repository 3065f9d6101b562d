"""The routes, one module for each resource; what they do is in `orchestrator.service`."""
