"""Clusters that ipyparallel's launchers start for one run: MPI, SSH, batch systems."""
