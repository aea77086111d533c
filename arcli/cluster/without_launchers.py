"""Import ipyparallel without what starts clusters, kernels and shells: that comes when it is asked for.

``ipyparallel.cluster`` takes a quarter of the time that ipyparallel takes to import, since it looks for
launchers in all packages that are installed. What jupyter_client starts kernels with takes a tenth, and
all that ipyparallel has of it is its messages; IPython's shell takes another one, and all that it has of
that is whether there is one, which there cannot be before its class is imported. Neither arcli's client nor
controllers need any of it, engines need some; items that do find it where it always is. There is no switch
for this
(https://github.com/ipython/ipyparallel/blob/9.0.1/ipyparallel/__init__.py,
https://github.com/jupyter/jupyter_client/blob/v8.6.3/jupyter_client/__init__.py,
https://github.com/ipython/ipython/blob/9.0.0/IPython/__init__.py,
https://github.com/ipython/ipykernel/blob/v6.29.5/ipykernel/__init__.py).
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

CLUSTER = "ipyparallel.cluster"
LATER = ("Cluster", "ClusterManager")
"""What ``ipyparallel`` has from it."""
PACKAGES = {
    "IPython": {"get_ipython": __name__},
    "ipykernel": {},
    "jupyter_client": {
        "write_connection_file": "jupyter_client.connect",
        "BlockingKernelClient": "jupyter_client.blocking",
    },
}
"""What is not imported until it is asked for a name, but for these: the modules that have them."""
SHELL = "IPython.core.interactiveshell"
"""Where the class of a shell is."""
ASKED_FOR = ("__all__", "__version__")
"""Names with underscores by which a package is asked for what is in it; others any module is asked for."""


def get_ipython() -> Any:
    """Return the shell of this process, or None; IPython's own function imports the shell's class for that.

    https://github.com/ipython/ipython/blob/9.0.0/IPython/core/getipython.py
    """
    if SHELL not in sys.modules:
        return None
    return importlib.import_module("IPython.core.getipython").get_ipython()


def _defer(name: str, where: Mapping[str, str]) -> None:
    """Have a package without what its own code imports, until it is asked for a name from there."""
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    assert spec is not None
    loader = spec.loader
    assert loader is not None
    package = sys.modules[name] = importlib.util.module_from_spec(spec)
    names = vars(package)

    def later(asked: str) -> Any:
        if asked in where:
            return getattr(importlib.import_module(where[asked]), asked)
        if asked.startswith("__") and asked not in ASKED_FOR:
            raise AttributeError(f"module {name!r} has no attribute {asked!r}")
        # A module of the package may be imported before the package itself, and ask for another one.
        if importlib.util.find_spec(f"{name}.{asked}") is not None:
            return importlib.import_module(f"{name}.{asked}")
        names.pop("__getattr__", None)
        loader.exec_module(package)
        return getattr(package, asked)

    names["__getattr__"] = later


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


for _package, _where in PACKAGES.items():
    _defer(_package, _where)
importlib.import_module("jupyter_client.session")  # what ipyparallel has of it, by the package's name
ipyparallel: Any = _import()
