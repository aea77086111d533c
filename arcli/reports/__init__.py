"""Report past runs and compare them: one file a format."""
