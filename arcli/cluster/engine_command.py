"""How an engine is started with an interpreter that need not be arcli's."""

from __future__ import annotations

_START = (
    "import os, runpy, sys, warnings; "
    "sys.path = [path for path in sys.path if path]; "
    "os.environ.update(PYTHONSAFEPATH='1', PYTHONWARNINGS=''); "
    "warnings.filterwarnings('ignore', message='(?s).*'); "
    "runpy.run_module('ipyparallel.engine', run_name='__main__', alter_sys=True)"
)
"""Files of the working folder must not pass for modules that the engine, or what it starts, imports, and
warnings are for items (``arcli.engine.own_code``). Items find both variables as they were before."""


def engine_command(python: str) -> list[str]:
    """Return the command that starts an engine; its arguments follow."""
    return [python, "-c", _START]
