"""``arcli map``: a batch without a file. The command line becomes a spec, which runs as any other."""
