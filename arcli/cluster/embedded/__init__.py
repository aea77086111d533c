"""Clusters on this machine, for one run: a supervisor forks controller and engines, and ends them."""
