"""Import ipyparallel without what starts clusters, which is imported when somebody asks for it.

``ipyparallel.cluster`` takes a quarter of the time that ipyparallel takes to import, since it looks for
launchers in all packages that are installed. Neither arcli's client nor controllers and engines need it;
items that do find it where it always is. ipyparallel has no switch for this
(https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/__init__.py).
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

CLUSTER = "ipyparallel.cluster"
LATER = ("Cluster", "ClusterManager")
"""What ``ipyparallel`` has from it."""


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


ipyparallel: Any = _import()
