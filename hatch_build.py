"""Makes the manual pages of the wheel from the commands themselves, when it is built."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACE = "share/man/man1"


class ManualPages(BuildHookInterface[Any]):
    """Adds ``share/man/man1/arcli*.1`` to a wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """See hatchling; nothing is made for an editable install."""
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        folder = Path(self.directory) / "man"
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages():
            (folder / f"{name}.1").write_text(text, "utf-8")
            build_data["shared_data"][str(folder / f"{name}.1")] = f"{PLACE}/{name}.1"


def pages() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each page: arcli's own, each verb's, and those of its parts."""
    import click

    from arcli.cli import VERBS, main

    top = click.Context(main, info_name="arcli", **main.context_settings)
    verbs = "".join(f".TP\n.BR arcli-{name} (1)\n{_text(verb.help)}\n" for name, verb in VERBS.items())
    yield "arcli", page(top) + f".SH COMMANDS\n{verbs}"
    for name, verb in VERBS.items():
        command: click.Command = importlib.import_module(verb.module).command
        context = click.Context(command, info_name=name, parent=top)
        yield f"arcli-{name}", page(context)
        for part, below in getattr(command, "commands", {}).items():
            yield f"arcli-{name}-{part}", page(click.Context(below, info_name=part, parent=context))


def page(context: Any) -> str:
    """Return a command's page in the macros of man(7)."""
    from arcli import __version__

    command, name = context.command, context.command_path.replace(" ", "-")
    usage = " ".join(command.collect_usage_pieces(context))
    description, _, examples = inspect.cleandoc(command.help or "").partition("\b\nExamples:\n")
    lines = [
        f'.TH {name.upper()} 1 "" "arcli {__version__}" "arcli"',
        f".SH NAME\n{name} \\- {_text(command.get_short_help_str(200))}",
        f".SH SYNOPSIS\n.B {_text(context.command_path)}\n{_text(usage)}",
        f".SH DESCRIPTION\n{_paragraphs(description)}",
        ".SH OPTIONS",
    ]
    records = filter(None, (param.get_help_record(context) for param in command.get_params(context)))
    lines += [f".TP\n.B {_text(option)}\n{_text(text)}" for option, text in records if text]
    if examples:
        lines.append(f".SH EXAMPLES\n.nf\n{_text(examples.rstrip())}\n.fi")
    return "\n".join(lines) + "\n"


def _paragraphs(text: str) -> str:
    """Paragraphs of a help text; those behind click's mark keep their lines."""
    parts = []
    for part in re.split(r"\n\s*\n", text.strip()):
        kept = part.startswith("\b")
        body = _text(part.removeprefix("\b").strip("\n"))
        parts.append(f".nf\n{body}\n.fi" if kept else body)
    return "\n.PP\n".join(parts)


def _text(text: str) -> str:
    """Text that no macro can come of: backslashes, hyphens of options, dots at a line's start."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"(?m)^\s*([.'])", r"\\&\1", escaped)
