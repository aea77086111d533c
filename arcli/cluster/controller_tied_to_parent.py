"""A controller that ends with whoever started it, however that ends.

``python -m arcli.cluster.controller_tied_to_parent PARENT MODULE ARGUMENT…`` runs
``python -m MODULE ARGUMENT…``.
"""

from __future__ import annotations

import os
import runpy
import sys

from arcli.cluster.processes import die_with
from arcli.engine.own_code import hush


def main() -> None:
    """Tie this process to the parent, and all that it forks to this process."""
    hush()
    _, parent, module, *arguments = sys.argv
    die_with(int(parent))
    me = os.getpid()
    os.register_at_fork(after_in_child=lambda: die_with(me))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
