"""The engine's code as one string that any engine can execute, whether it has arcli or not."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from arcli.cluster.embedded.forks import ENGINE_PACKAGE, channel

MODULES = (
    "tally",
    "encode",
    "keys",
    "template",
    "shell_less",
    "spawn",
    "protocol",
    "own_code",
    "interpreter",
    "threads",
    "limits",
    "live",
    "blank_files",
    "capture",
    "position_file",
    "functions",
    "constants",
    "flock",
    "ends",
    "program",
    "notebook",
    "errors",
    "parse",
    "command",
    "stamps",
    "item",
    "variables",
    "beside",
    "chunk_results",
    "chunk",
    "worker",
)
"""In the order in which they import one another."""

_LOADER = """
import sys, types
if sys.version_info < (3, 11):
    version = ".".join(map(str, sys.version_info[:2]))
    raise ImportError("engines need Python 3.11 or newer, and " + sys.executable + " is " + version)
package = sys.modules.get({package!r})
if package is None:  # another run may have brought it
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
from ipyparallel.serialize import PrePickled
class Raw(PrePickled):  # bytes that ipyparallel sends as they are; published under one name
    def __init__(self, parts):
        self.buffers = parts
    def keys(self):
        return [{channel!r}]
kernel, namespace, unwanted = get_ipython().kernel, get_ipython().user_ns, None
if {shared!r}:
    # A module of the run's own, so that what it defines can be pickled, with all names that are
    # there; two runs do not see each other's, and nothing needs to be taken back.
    module = types.ModuleType({module!r})
    module.__dict__.update((n, v) for n, v in namespace.items() if not n.startswith("__"))
    sys.modules[{module!r}] = module
    namespace = module.__dict__
    def unwanted():
        chunk = kernel.get_parent()["header"]["msg_id"]
        return lambda: chunk in kernel.aborted
worker = package.worker.Worker(
    namespace, lambda envelope: publish_data(Raw([envelope])), unwanted=unwanted
)
package.__dict__.setdefault("workers", {{}})[{run!r}] = worker
package.__dict__.setdefault("handlers", {{}})[{run!r}] = lambda part: Raw(worker.handle_part(part))
"""
_FAREWELL = """
import sys
package = sys.modules.get({package!r})
worker = None if package is None else package.workers.pop({run!r}, None)
if worker is not None:
    del package.handlers[{run!r}]
    worker.leave()
    sys.modules.pop({module!r}, None)
    if not package.workers:  # nor does another run need the code
        for name in [n for n in sys.modules if n.partition(".")[0] == {package!r}]:
            del sys.modules[name]
"""


@cache
def _sources() -> list[tuple[str, str]]:
    folder = resources.files("arcli.engine")
    return [(name, folder.joinpath(f"{name}.py").read_text("utf-8")) for name in MODULES]


class Bundle:
    """What brings the worker of ``run`` to engines, and takes it away again.

    Engines that are ``shared`` may have workers of several runs, and of several versions of arcli. Forks
    of an embedded cluster have theirs already.
    """

    def __init__(self, run: str, *, shared: bool) -> None:
        self._run = run
        self._shared = shared
        self._module = f"_arcli_run_{run}"
        self._package = ENGINE_PACKAGE
        # Two versions of arcli may use one engine at a time, so a package is named by its content.
        if shared:
            code = "".join(source for _, source in _sources())
            self._package += "_" + hashlib.sha256(code.encode()).hexdigest()[:12]

    @property
    def channel(self) -> str:
        """The name under which early records are published, beside data that the user's code has."""
        return channel(self._run)

    @property
    def handle(self) -> str:
        """What a ``Reference`` to the worker evaluates, without a name in the user's space."""
        return f"__import__({self._package!r}).handlers[{self._run!r}]"

    @property
    def bootstrap(self) -> str:
        """Source that defines the worker on an engine, when executed in a fresh namespace."""
        return _LOADER.format(
            package=self._package,
            sources=_sources(),
            run=self._run,
            shared=self._shared,
            module=self._module,
            channel=self.channel,
        )

    @property
    def farewell(self) -> str:
        """Source that takes the worker away, and what it did to the engine's interpreter."""
        return _FAREWELL.format(package=self._package, run=self._run, module=self._module)
