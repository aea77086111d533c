"""Floor 2: consumers of records, one file a format."""
