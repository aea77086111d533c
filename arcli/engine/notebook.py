"""A notebook as an item: its parameters injected, run by papermill, its value brought back.

papermill is looked for on the engine, and only by jobs that have a notebook:
https://papermill.readthedocs.io.
"""

from __future__ import annotations

import base64
import contextlib
import os
import pickle
import re
from collections.abc import Mapping
from typing import Any

from .capture import CAP, NOTHING, NoCapture
from .live import Live, Patrol, PrintedText
from .program import ProgramFailed, Shown
from .protocol import JobDefinition

_MIME = "application/vnd.arcli.value+json"
_TAG = "arcli-value"
_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_STARTS = 3
"""Times that a kernel is started which ends before it answers. Its ports are chosen before it has come up
to take them: where many kernels start at once, some other process may have one by then."""
_STILLBORN = "Kernel died before replying"
"""How jupyter_client says so."""
_OURS = {_TAG, "injected-parameters", "papermill-error-cell-tag"}
# What is assigned to arcli_value, or else what the last cell showed; and how that looks, because
# pickles of what only the kernel has cannot be made, or not be opened here.
_LAST_CELL = f"""\
def _arcli_value():
    import base64, pickle
    from IPython import get_ipython
    from IPython.display import publish_display_data
    shell = get_ipython()
    shown = (shell.user_ns.get("Out") or {{}}).get(len(shell.user_ns.get("In") or ()) - 2)
    value = shell.user_ns["arcli_value"] if "arcli_value" in shell.user_ns else shown
    try:
        pickled = base64.b64encode(pickle.dumps(value)).decode()
    except Exception:
        pickled = None
    try:
        text = repr(value)[:1000]
    except Exception as error:
        text = "<a " + type(value).__name__ + " whose repr raises " + type(error).__name__ + ">"
    publish_display_data({{"{_MIME}": {{"pickle": pickled, "repr": text}}}})
_arcli_value()
"""


class _Cells:
    """What the cells of a notebook print while it runs (see Watched)."""

    def __init__(self, index: int, attempt: int) -> None:
        self._item = index, attempt
        self.out, self.err = PrintedText("out"), PrintedText("err")

    def look(self, live: Live) -> None:
        """See Watched."""
        for text in (self.out, self.err):
            text.look(live, *self._item)


class CellFailed(ProgramFailed):
    """A cell of a notebook raised."""


class NoKernel(Exception):
    """The kernel that a notebook names is not there."""


def preflight(path: str) -> None:
    """Raise ImportError or NoKernel where a notebook cannot be run: before any item is spent."""
    import nbformat
    import papermill  # noqa: F401
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    name = nbformat.read(path, as_version=4).metadata.get("kernelspec", {}).get("name")
    if not name:
        raise NoKernel(f"{path} names no kernel (metadata.kernelspec.name)")
    manager = KernelSpecManager()
    try:
        manager.get_kernel_spec(name)
    except NoSuchKernel:
        kernels = ", ".join(sorted(manager.find_kernel_specs())) or "none"
        raise NoKernel(f"there is no kernel {name!r} for {path}; there is: {kernels}") from None


class Notebook:
    """A notebook of a job, which is run for one item at a time, whose keys are the parameters.

    The executed copy of each item is kept as ``INDEX.ipynb`` in the job's folder.
    """

    def __init__(
        self, job: JobDefinition, constants: dict[str, Any], capture: NoCapture, patrol: Patrol
    ) -> None:
        self._path = job.notebook or ""
        self._copies = os.path.join(job.run_folder, "notebooks", job.name)  # noqa: PTH118
        self._constants = constants
        self._capture = capture
        self._patrol = patrol
        self.usage: dict[str, float | None] | None = None
        self.printed = NOTHING
        os.makedirs(self._copies, exist_ok=True)  # noqa: PTH103 - nothing heavier on an engine

    def run(self, item: Any, index: int, attempt: int = 1, outdir: str | None = None) -> Any:
        """Run the notebook for one item. Raises CellFailed, TypeError, OSError."""
        import papermill

        if not isinstance(item, Mapping):
            raise TypeError(f"a notebook's items are its parameters, as in {{alpha: 1}}: {item!r} is none")
        # An item's own value wins over a constant, as a keyword argument does.
        parameters = {**self._constants, **item}
        copy = os.path.join(self._copies, f"{index}.ipynb")  # noqa: PTH118
        try:
            # A parameter that its cell of parameters does not have would be passed over in silence.
            declared = papermill.inspect_notebook(self._path)
            strange = [name for name in parameters if name not in declared]
            if declared and strange:
                known = ", ".join(declared)
                raise TypeError(f"the notebook has no parameter {strange[0]!r}; it has {known}")
            return self._run(parameters, copy, _Cells(index, attempt))
        finally:
            printed = self._capture.take()
            with contextlib.suppress(FileNotFoundError):
                cells = _finished(copy)
                out, err = printed[0] + cells[0], printed[1] + cells[1]
                printed = out[:CAP], err[:CAP], printed[2] or len(out) > CAP or len(err) > CAP
            self.printed = printed

    def _run(self, parameters: dict[str, Any], copy: str, cells: _Cells) -> Any:
        import nbformat
        from papermill.exceptions import PapermillExecutionError

        # The author's file is never written to; what runs is a copy with one more cell, which publishes
        # its value.
        prepared = copy.removesuffix(".ipynb") + ".tmp.ipynb"
        notebook = nbformat.read(self._path, as_version=4)
        notebook.cells.append(nbformat.v4.new_code_cell(_LAST_CELL, metadata={"tags": [_TAG]}))
        nbformat.write(notebook, prepared)
        try:
            with self._patrol.over(cells):
                done = _executed(prepared, copy, parameters, cells)
        except PapermillExecutionError as error:
            raise _failure(error, copy) from None
        finally:
            os.remove(prepared)  # noqa: PTH107
        for output in done.cells[-1].outputs:
            if published := output.get("data", {}).get(_MIME):
                # A class that the notebook defines is unknown here; it may raise anything.
                with contextlib.suppress(Exception):
                    if published["pickle"] is not None:
                        return pickle.loads(base64.b64decode(published["pickle"]))  # noqa: S301 - from the kernel
                return Shown(published["repr"])
        return None


def _executed(prepared: str, copy: str, parameters: dict[str, Any], cells: _Cells) -> Any:
    """Have papermill run a notebook into its copy; once more where its kernel did not come up."""
    import papermill

    left = _STARTS
    while True:
        left -= 1
        try:
            return papermill.execute_notebook(
                prepared,
                copy,
                parameters=parameters,
                progress_bar=False,
                stdout_file=cells.out,
                stderr_file=cells.err,
            )
        except RuntimeError as error:
            # Only where no cell can have begun: what a notebook does may not be done twice.
            if not left or _STILLBORN not in str(error):
                raise


def _failure(error: Any, copy: str) -> CellFailed:
    """Tell which of the author's cells failed, and how. ``error`` is papermill's."""
    import nbformat

    # Counted as the author counts: papermill's cells and arcli's are not among them.
    cells = nbformat.read(copy, as_version=4).cells
    number = 0
    for cell in cells:
        ours = not _OURS.isdisjoint(cell.get("metadata", {}).get("tags", []))
        if cell.cell_type == "code" and not ours:
            number += 1
            if any(output.output_type == "error" for output in cell.get("outputs", [])):
                break
    failed = CellFailed(f"cell {number}: {error.ename}: {error.evalue}")
    failed.trace = _ESCAPES.sub("", "\n".join(error.traceback))
    return failed


def _finished(copy: str) -> tuple[str, str]:
    """Leave the executed copy as its author would have it; what its cells printed."""
    import nbformat

    # The cell that fetches the value was added for the run, and is none of the author's.
    notebook = nbformat.read(copy, as_version=4)
    notebook.cells = [
        cell for cell in notebook.cells if _TAG not in cell.get("metadata", {}).get("tags", [])
    ]
    nbformat.write(notebook, copy)
    printed = {"stdout": "", "stderr": ""}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "stream":
                printed[output.name] += output.text
    return printed["stdout"], printed["stderr"]
