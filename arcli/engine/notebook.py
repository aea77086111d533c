"""A notebook as an item: its parameters injected, run by papermill, its value brought back.

papermill is looked for on the engine, and only by jobs that have a notebook:
https://papermill.readthedocs.io.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pickle
from collections.abc import Mapping
from typing import Any

from .capture import NoCapture
from .program import ProgramFailed

_MIME = "application/vnd.arcli.value"
_TAG = "arcli-value"
# What is assigned to arcli_value, or else what the last cell that shows something showed.
_LAST_CELL = f"""\
def _arcli_value():
    import base64, pickle
    from IPython import get_ipython
    from IPython.display import publish_display_data
    names = get_ipython().user_ns
    shown = names.get("Out") or {{}}
    value = names["arcli_value"] if "arcli_value" in names else shown.get(max(shown, default=0))
    publish_display_data({{"{_MIME}": base64.b64encode(pickle.dumps(value)).decode()}})
_arcli_value()
"""


def preflight() -> None:
    """Raise ImportError where notebooks cannot be run: before any item is spent."""
    import nbformat  # noqa: F401
    import papermill  # noqa: F401


class CellFailed(ProgramFailed):
    """A cell of a notebook raised."""


class Notebook:
    """A notebook of a job: call it with an item, whose keys are the parameters, and its index.

    The executed copy of each item is kept as ``INDEX.ipynb`` in the job's folder.
    """

    def __init__(
        self, job: Mapping[str, Any], constants: dict[str, Any], capture: NoCapture
    ) -> None:
        self._path: str = job["notebook"]
        self._copies: str = job["copies"]
        self._constants = constants
        self._capture = capture
        self.usage: dict[str, float | None] | None = None
        self.printed = ("", "", False)
        os.makedirs(self._copies, exist_ok=True)  # noqa: PTH103 - nothing heavier on an engine

    def run(self, item: Any, index: int) -> Any:
        """Run the notebook for one item. Raises CellFailed, TypeError, OSError."""
        if not isinstance(item, Mapping):
            raise TypeError(
                f"a notebook's items are its parameters, as in {{alpha: 1}}: {item!r} is none"
            )
        copy = os.path.join(self._copies, f"{index}.ipynb")  # noqa: PTH118
        try:
            return self._run({**self._constants, **item}, copy)
        finally:
            with contextlib.suppress(FileNotFoundError):
                _without_last_cell(copy)
            self.printed = self._capture.take()

    def _run(self, parameters: dict[str, Any], copy: str) -> Any:
        import papermill
        from papermill.exceptions import PapermillExecutionError

        prepared = copy + ".tmp"
        _with_last_cell(self._path, prepared)
        try:
            done = papermill.execute_notebook(
                prepared, copy, parameters=parameters, progress_bar=False
            )
        except PapermillExecutionError as error:
            cell = error.exec_count
            raise CellFailed(f"cell {cell}: {error.ename}: {error.evalue}") from None
        finally:
            os.remove(prepared)  # noqa: PTH107
        for output in done.cells[-1].outputs:
            if found := output.get("data", {}).get(_MIME):
                return pickle.loads(base64.b64decode(found))  # noqa: S301 - from the notebook's kernel
        return None


def _with_last_cell(path: str, prepared: str) -> None:
    """The notebook with a last cell that publishes its value."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    cell = nbformat.v4.new_code_cell(_LAST_CELL, metadata={"tags": [_TAG]})
    notebook.cells.append(cell)
    nbformat.write(notebook, prepared)


def _without_last_cell(copy: str) -> None:
    """The executed copy as its author would have it."""
    import nbformat

    notebook = nbformat.read(copy, as_version=4)
    notebook.cells = [
        cell for cell in notebook.cells if _TAG not in cell.get("metadata", {}).get("tags", [])
    ]
    nbformat.write(notebook, copy)
