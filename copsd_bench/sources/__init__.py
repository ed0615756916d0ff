"""Benchmark data: where each file comes from, and one loader that verifies it."""
