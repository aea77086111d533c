"""Add up records: summaries, statistics, tables, the exit code. Nothing is read or written here."""
