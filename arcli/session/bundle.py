"""The engine's code as one string that any engine can execute, whether it has arcli or not."""

from __future__ import annotations

from functools import cache
from importlib import resources

from arcli.cluster.children import ENGINE_PACKAGE

PACKAGE = ENGINE_PACKAGE
MODULES = (
    "tally",
    "encode",
    "keys",
    "limits",
    "capture",
    "envelope",
    "breadcrumb",
    "functions",
    "program",
    "command",
    "notebook",
    "item",
    "worker",
)
"""In the order in which they import one another."""

_LOADER = """
import sys, types
package = sys.modules.get({package!r})
if package is None:  # a fork of arcli's own has it already
    package = types.ModuleType({package!r})
    package.__path__ = []
    sys.modules[{package!r}] = package
    for name, source in {sources!r}:
        module = types.ModuleType({package!r} + "." + name)
        module.__package__ = {package!r}
        sys.modules[module.__name__] = module
        exec(compile(source, "<arcli/" + name + ".py>", "exec"), module.__dict__)
        setattr(package, name, module)
from IPython import get_ipython
from ipyparallel.datapub import publish_data
import itertools
numbers = itertools.count()
package.handle_part = package.worker.Worker(
    get_ipython().user_ns,
    lambda envelope: publish_data({{str(next(numbers)): envelope}}),
).handle_part
"""

HANDLE = f"__import__({PACKAGE!r}).handle_part"
"""What an ``ipyparallel.Reference`` to the worker evaluates, without a name in the user's space."""


@cache
def bootstrap() -> str:
    """Source that defines the worker on an engine, when it is executed in a fresh namespace."""
    folder = resources.files("arcli.engine")
    sources = [(name, folder.joinpath(f"{name}.py").read_text("utf-8")) for name in MODULES]
    return _LOADER.format(package=PACKAGE, sources=sources)
