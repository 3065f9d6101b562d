"""Steps that run in the service's own environment, on a processor: prepare."""
