"""Evaluate whether a safety-aligned language model became safer, or only shorter."""

__version__ = "0.1.0"
