"""Judges: verdicts on (prompt, answer) pairs, free of Inspect so that scorers and training rewards share them."""
