"""Import ipyparallel without what starts clusters and kernels, which is imported when somebody asks for it.

``ipyparallel.cluster`` takes a quarter of the time that ipyparallel takes to import, since it looks for
launchers in all packages that are installed; what jupyter_client starts kernels with takes a tenth, and all
that ipyparallel has of it is its messages. Neither arcli's client nor controllers and engines need either;
items that do find it where it always is. There is no switch for this
(https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/__init__.py,
https://github.com/jupyter/jupyter_client/blob/v8.6.3/jupyter_client/__init__.py).
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

CLUSTER = "ipyparallel.cluster"
LATER = ("Cluster", "ClusterManager")
"""What ``ipyparallel`` has from it."""
KERNELS = "jupyter_client"
WHERE = {"write_connection_file": "connect", "BlockingKernelClient": "blocking"}
"""The modules of what ipykernel asks ``jupyter_client`` for; neither starts kernels."""
ASKED_FOR = ("__all__", "__version__")
"""Names with underscores by which a package is asked for what is in it; others any module is asked for."""


def _defer_kernels() -> None:
    """Have jupyter_client without what its own code imports, until it is asked for a name from there."""
    if KERNELS in sys.modules:
        return
    spec = importlib.util.find_spec(KERNELS)
    assert spec is not None
    loader = spec.loader
    assert loader is not None
    package = sys.modules[KERNELS] = importlib.util.module_from_spec(spec)
    names = vars(package)

    def later(name: str) -> Any:
        if name in WHERE:
            return getattr(importlib.import_module(f"{KERNELS}.{WHERE[name]}"), name)
        if name.startswith("__") and name not in ASKED_FOR:
            raise AttributeError(f"module {KERNELS!r} has no attribute {name!r}")
        # A module of the package may be imported before the package itself, and ask for another one.
        if importlib.util.find_spec(f"{KERNELS}.{name}") is not None:
            return importlib.import_module(f"{KERNELS}.{name}")
        names.pop("__getattr__", None)
        loader.exec_module(package)
        return getattr(package, name)

    names["__getattr__"] = later
    importlib.import_module(f"{KERNELS}.session")  # what ipyparallel has of it, by the package's name


def _import() -> ModuleType:
    """Return ipyparallel; as it was imported, if it was before."""
    if "ipyparallel" in sys.modules:
        return sys.modules["ipyparallel"]
    stand_in = ModuleType(CLUSTER)
    vars(stand_in).update(dict.fromkeys(LATER))
    sys.modules[CLUSTER] = stand_in
    try:
        package = importlib.import_module("ipyparallel")
    finally:
        del sys.modules[CLUSTER]
    names = vars(package)
    for name in LATER:
        del names[name]

    def later(name: str) -> Any:
        # A module's attributes that are not there (https://peps.python.org/pep-0562/).
        if name not in {*LATER, "cluster"}:
            raise AttributeError(f"module 'ipyparallel' has no attribute {name!r}")
        module = importlib.import_module(CLUSTER)
        names.update({each: getattr(module, each) for each in LATER})
        return names[name]

    names["__getattr__"] = later
    names["__all__"] = [name for name in (*names, *LATER, "cluster") if not name.startswith("_")]
    return package


_defer_kernels()
ipyparallel: Any = _import()
