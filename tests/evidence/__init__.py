"""The evidence: arms trained and judged by the project's own commands, and the page made of their records."""
