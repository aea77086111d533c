"""Keep a run on disk: its folder with manifest and journal, its lock, and what can be resumed."""
