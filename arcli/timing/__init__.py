"""Floor 1: what records add up to: summaries, statistics, tables. Pure."""
