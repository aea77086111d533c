"""Floor 2: start or join a cluster, supervise it, and stop what we started."""
