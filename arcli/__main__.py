"""``python -m arcli`` and the ``arcli`` command."""

from __future__ import annotations

import gc

# Imports make many objects and no garbage: looking for it costs a tenth of a cold start.
gc.set_threshold(50_000, 20, 20)

from arcli.engine.own_code import hush  # noqa: E402

hush()
from arcli.cli import error_boundary  # noqa: E402
from arcli.cli import main as cli  # noqa: E402 - see above


def main() -> None:
    """Run the command line, and leave."""
    try:
        cli()
    except SystemExit as leaving:
        error_boundary.leave(leaving.code)


if __name__ == "__main__":
    main()
