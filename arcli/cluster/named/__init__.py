"""Clusters that outlive a run, by name."""
