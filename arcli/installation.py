"""How arcli was installed, and what a package has to be added to."""

from __future__ import annotations

import importlib.util
import shlex
import sys
from pathlib import Path


def how_to_add(package: str) -> str:
    """Return the command that adds ``package`` to the environment which arcli itself runs in.

    pipx and uv leave a file of their own in the environments that they make:
    https://pipx.pypa.io/stable/how-pipx-works/ and https://docs.astral.sh/uv/concepts/tools/.
    """
    environment = Path(sys.prefix)
    requirement = shlex.quote(package)
    if (environment / "pipx_metadata.json").exists():
        return f"pipx inject {environment.name} {requirement}"
    python = shlex.quote(sys.executable)
    # An environment that uv made has no pip of its own.
    if (environment / "uv-receipt.toml").exists() or importlib.util.find_spec("pip") is None:
        return f"uv pip install --python {python} {requirement}"
    return f"{python} -m pip install {requirement}"
