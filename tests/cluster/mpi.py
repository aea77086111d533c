"""What MPI needs on this machine."""

from __future__ import annotations

import importlib.util
import shutil

OPTIONS = {"MPIEngineSetLauncher.mpi_args": ["--oversubscribe"]}
ENV = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
"""For the user that tests often run as."""


def missing() -> str | None:
    """Why there can be no MPI here; None where there can."""
    if shutil.which("mpiexec") is None:
        return "no mpiexec here: apt-get install openmpi-bin"
    if importlib.util.find_spec("mpi4py") is None:
        return "no mpi4py here: pip install mpi4py"
    return None
