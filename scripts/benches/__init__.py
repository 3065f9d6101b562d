"""Benchmarks, one part a module; `scripts/bench` runs them."""
