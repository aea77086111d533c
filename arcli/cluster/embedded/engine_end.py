"""The end of a forked engine: what is the user's ends as in any interpreter, what engines share stays.

``Py_FinalizeEx`` takes down all that there is, and each page of it is copied before: that took a third as
long as an engine's start.
"""

from __future__ import annotations

import atexit
import gc
import itertools
import sys
import threading
from importlib.machinery import ExtensionFileLoader
from types import ModuleType
from typing import Any


class Shared:
    """The modules that there are before a fork."""

    def __init__(self) -> None:
        self._modules = frozenset(sys.modules)
        self._last = next(reversed(sys.modules))

    def end_others(self, *belongings: dict[str, Any]) -> bool:
        """End threads, do what is to be done at the end, and end ``belongings`` and modules that are new.

        Returns whether that is all there is to end; where it is not, ``Py_Exit`` has the rest to do. To be
        called in the fork.
        """
        # In the order of Py_FinalizeEx: https://github.com/python/cpython/blob/v3.11.7/Python/pylifecycle.c
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001
        atexit._run_exitfuncs()  # noqa: SLF001
        gc.collect()
        # A look at a module that is older would count a reference to it, and copy the page that it is on.
        later = list(itertools.takewhile(lambda name: name != self._last, reversed(sys.modules)))
        own = [sys.modules.pop(name) for name in later if name not in self._modules]
        modules = [module for module in own if isinstance(module, ModuleType)]
        # Whoever has code in C may have left word with the C library for an interpreter's end.
        specs = [vars(module).get("__spec__") for module in modules]
        pure = not any(isinstance(getattr(spec, "loader", None), ExtensionFileLoader) for spec in specs)
        all_names = [*belongings, *map(vars, modules)]
        del own, modules
        gc.collect()
        for names in all_names:
            clear(names)
        gc.collect()
        return pure


def clear(names: dict[str, Any]) -> None:
    """Take away the objects of a module: those first whose names say that they are its own affair.

    As an interpreter's end does (``_PyModule_ClearDict``,
    https://github.com/python/cpython/blob/v3.11.7/Objects/moduleobject.c).
    """
    for private in (True, False):
        for name in list(names):
            own = name.startswith("_") and not name.startswith("__")
            if own == private and name != "__builtins__":
                names[name] = None
