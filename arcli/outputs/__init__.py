"""Write records: one file a format, a registry of them, the terminal and the progress."""
