"""``python -m arcli`` and the ``arcli`` command."""

from __future__ import annotations

from arcli.cli import main

if __name__ == "__main__":
    main()
