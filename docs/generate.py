"""Pages of the site that are made when it is built: from the commands, the models, and files beside docs/.

A hook of MkDocs (https://www.mkdocs.org/user-guide/configuration/#hooks); nothing that it makes is kept in
the repository, so that no page can be older than the code.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arcli.cli import VERBS, main
from arcli.specfile.schema import json_schema

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parents[1]
COPIES = {"changelog.md": ROOT / "CHANGELOG.md", "benchmarks.md": ROOT / "benchmarks" / "README.md"}
LATER = r"\$\{"
"""The pattern by which the schema lets any value be a ``${…}``."""
TITLES = {
    "Cluster": "`cluster`",
    "Setup": "`setup`",
    "Policy": "Policy: in a job, or under `defaults`",
    "Job": "A job",
    "Over": "`over`: the items of a job",
    "Output": "`output`",
    "Notification": "`notify`",
    "Artifact": "`artifacts`",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made to those that are written."""
    from mkdocs.structure.files import File

    pages = {"reference/commands.md": commands_page(), "reference/keys.md": keys_page()}
    pages |= {name: path.read_text("utf-8") for name, path in COPIES.items()}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def commands_page() -> str:
    """Return every command with its options, from the help that click has of them."""
    lines = [
        "# Commands",
        "",
        "Made from the commands themselves: `arcli COMMAND --help` says the same.",
        "",
        "| command | does |",
        "|---|---|",
    ]
    lines += [f"| [`arcli {name}`](#arcli-{name}) | {verb.help} |" for name, verb in VERBS.items()]
    for name, verb in VERBS.items():
        lines += _command(importlib.import_module(verb.module).command, f"arcli {name}", "##")
    return "\n".join(lines) + "\n"


def _command(command: click.Command, path: str, level: str) -> Iterator[str]:
    # Click keeps the help option that it makes first: without these settings `-h` would be unknown later.
    context = click.Context(command, info_name=path, **main.context_settings)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    yield from (
        "",
        f"{level} {path}",
        "",
        f"    {usage}",
        "",
        _prose(inspect.cleandoc(command.help or "")),
        "",
    )
    options = [part for part in command.get_params(context) if isinstance(part, click.Option)]
    if options:
        yield from ("| option | |", "|---|---|")
        for option in options:
            record = option.get_help_record(context)
            if record is not None:
                yield f"| `{_cell(record[0])}` | {_cell(record[1])} |"
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from _command(below, f"{path} {name}", level + "#")


def _prose(text: str) -> str:
    """Turn a help text into Markdown: click keeps paragraphs after a backspace as they are."""
    paragraphs = []
    for paragraph in text.replace("\f", "").split("\n\n"):
        if paragraph.startswith("\b"):
            lines = paragraph.removeprefix("\b").strip("\n").splitlines()
            paragraphs.append("\n".join(f"    {line.strip()}" for line in lines))
        else:
            paragraphs.append(paragraph)
    return "\n\n".join(paragraphs)


def keys_page() -> str:
    """Return a table of keys for each part of a spec, from the schema that editors get."""
    schema = json_schema()
    parts = schema["$defs"]
    top = {key: part for key, part in schema["properties"].items() if key not in _keys(parts["Job"])}
    lines = [
        "# All keys of a spec",
        "",
        "Made from the models that specs are read into; `arcli schema` prints them for editors, and",
        "[the spec](../spec.md) tells what they mean together. Every value may be a `${…}`, and one that",
        "may be left out and has no default also `null`: none.",
        "",
        "## The top of a spec",
        "",
        "A spec with one job may have that job's keys here, too.",
        "",
        *_table(top, parts),
    ]
    policy = _keys(parts["Policy"])
    for name, title in TITLES.items():
        keys = _keys(parts[name])
        if name == "Job":
            keys = {key: part for key, part in keys.items() if key not in policy}
        lines += ["", f"## {title}", "", *_table(keys, parts)]
    others = set(parts) - set(TITLES) - {"Spec"}
    for name in sorted(name for name in others if _keys(parts[name])):
        lines += ["", f"### {name}", "", *_table(_keys(parts[name]), parts)]
    return "\n".join(lines) + "\n"


def _keys(part: dict[str, Any]) -> dict[str, Any]:
    """Return a model's keys, whether or not it has short forms beside them."""
    forms = [part, *part.get("anyOf", ())]
    return next((dict(form["properties"]) for form in forms if "properties" in form), {})


def _table(keys: dict[str, Any], parts: dict[str, Any]) -> Iterator[str]:
    yield from ("| key | value | default | |", "|---|---|---|---|")
    for key, part in keys.items():
        value = _cell(" or ".join(dict.fromkeys(_kinds(part, parts))) or "any value")
        plain = "default" in part and not (isinstance(part["default"], dict) and part["default"])
        default = f"`{_cell(_yaml(part['default']))}`" if plain else ""
        yield f"| `{key}` | {value} | {default} | {_cell(part.get('description', ''))} |"


def _kinds(part: dict[str, Any], parts: dict[str, Any]) -> Iterator[str]:
    """Yield in words what a value may be; ``${…}`` and null, told of at the top, are left out."""
    if part.get("type") == "null":
        return
    if "$ref" in part:
        name = part["$ref"].rpartition("/")[2]
        text = TITLES.get(name, f"`{name}`")
        if _keys(parts[name]):
            yield f"[{text}](#{_anchor(text)})"
        elif parts[name].get("pattern") != LATER:
            yield "map"
    elif "anyOf" in part:
        for choice in part["anyOf"]:
            yield from _kinds(choice, parts)
    elif "enum" in part or "const" in part:
        yield from (f"`{_yaml(value)}`" for value in part.get("enum", [part.get("const")]))
    elif part.get("type") == "array":
        inner = list(dict.fromkeys(_kinds(part.get("items", {}), parts)))
        yield f"list of {' or '.join(inner)}" if inner else "list"
    elif part.get("pattern") != LATER and "type" in part:
        kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
        names = {"object": "map", "string": "text", "integer": "whole number", "boolean": "`true`, `false`"}
        yield from (names.get(kind, kind) for kind in kinds)


def _yaml(value: object) -> str:
    """Return a plain value as a spec has it."""
    if isinstance(value, bool) or value is None:
        return str(value).lower().replace("none", "null")
    return str(value)


def _anchor(title: str) -> str:
    return "".join(char for char in title.lower().replace(" ", "-") if char.isalnum() or char in "-_")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
