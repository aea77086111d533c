"""Start or join a cluster, watch its processes, and end what was started."""
