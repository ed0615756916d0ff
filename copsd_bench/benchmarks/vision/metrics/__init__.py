"""Scores of single answers as pure functions of texts; nothing here knows Inspect."""
