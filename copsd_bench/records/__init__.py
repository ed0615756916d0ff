"""Records of runs: schema, store, statistics, comparison, leaderboard."""
