"""The engines as the session sees them, behind one protocol: ipyparallel's, or this process."""
