"""A real Kubernetes of one node: how it is built, started, looked at and stopped."""
