"""Floor 4: the command line, one file a verb; errors become messages and exit codes here, once."""
