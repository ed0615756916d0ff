"""Benchmarks: one short file each (source -> sample -> solver -> scorer), registered with Inspect when imported."""
