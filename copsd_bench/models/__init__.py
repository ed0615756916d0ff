"""Models by content: the built-in one, local folders and hub ids, each with digests of what it is."""
