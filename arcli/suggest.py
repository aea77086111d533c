"""Words for hints: what was probably meant, how it is written in YAML, how a package is added."""

from __future__ import annotations

from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a suggestion for a mistyped word; empty where nothing is near."""
    import difflib

    near = difflib.get_close_matches(word, list(known), 1)
    return f"did you mean {near[0]!r}?" if near else ""


def near_or_all(word: str, known: Iterable[str]) -> str:
    """Return a suggestion for a mistyped word, or else all words that there are."""
    words = list(known)
    return did_you_mean(word, words) or f"there are: {', '.join(words)}"


def quoted(value: str) -> str:
    """Return a text as YAML reads it back: in the quotes that need the fewest escapes."""
    if '"' not in value and "\\" not in value:
        return f'"{value}"'
    return "'" + value.replace("'", "''") + "'"


def how_to_add(package: str) -> str:
    """Return the command that adds ``package`` to the environment which arcli itself runs in.

    pipx and uv leave a file of their own in the environments that they make:
    https://pipx.pypa.io/stable/how-pipx-works/ and https://docs.astral.sh/uv/concepts/tools/.
    """
    import importlib.util
    import shlex
    import sys
    from pathlib import Path

    environment = Path(sys.prefix)
    requirement = shlex.quote(package)
    if (environment / "pipx_metadata.json").exists():
        return f"pipx inject {environment.name} {requirement}"
    python = shlex.quote(sys.executable)
    # An environment that uv made has no pip of its own.
    if (environment / "uv-receipt.toml").exists() or importlib.util.find_spec("pip") is None:
        return f"uv pip install --python {python} {requirement}"
    return f"{python} -m pip install {requirement}"
