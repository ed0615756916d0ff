"""The collapse panel: pure functions on completions, token scores and activations."""
