"""``python -m arcli`` and the ``arcli`` command."""

from __future__ import annotations

import gc
import sys

# Imports make many objects and no garbage: each look for it takes 14 ms of a cold start.
gc.set_threshold(200_000, 20, 20)


def main() -> None:
    """Run the command line, and leave."""
    # Most of a short command's time are these imports, and Ctrl-C in them is no bug to trace back.
    try:
        from arcli.engine.own_code import hush

        hush()  # before anything else is imported that might warn
        from arcli.cli import error_boundary
        from arcli.cli import main as cli
    except KeyboardInterrupt:
        sys.exit(130)

    try:
        cli()
    except SystemExit as leaving:
        error_boundary.leave(leaving.code)


if __name__ == "__main__":
    main()
