"""Engines: encode, generate, score and read activations of one model under different views."""
