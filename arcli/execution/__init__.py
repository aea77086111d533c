"""The jobs of a run, one after another: items in, records out, and a value at the end."""

from arcli.execution.context import Context, Kept, Outcome
from arcli.execution.engines import setup_steps
from arcli.execution.line import run_jobs

__all__ = ["Context", "Kept", "Outcome", "run_jobs", "setup_steps"]
