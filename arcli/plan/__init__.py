"""Floor 1: from a spec to lazily numbered items: sources, combinations, calls, keys."""
