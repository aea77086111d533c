"""Floor 3: reports of past runs and comparisons of them, one file per format."""
