"""Corpora: the row schema, the seed data written for this project, and what is built from them."""
