"""A fine-tuning service: a short spec becomes a proven, trained and published adapter."""

__version__ = "0.1.0"
