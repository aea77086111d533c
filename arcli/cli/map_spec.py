"""Make a spec of the words of ``arcli map``: the tree that a YAML file would have given."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from arcli.cli.map_words import Batch
from arcli.engine.functions import kind_of
from arcli.errors import SpecError, UsageError
from arcli.inputs.registry import keys
from arcli.placeholders import Placeholder, placeholders, surroundings, words_in_braces
from arcli.specfile import scalars
from arcli.specfile.checks.command import misplaced
from arcli.specfile.compose import compose
from arcli.specfile.tree import Entry, Node, Text

_SHORT = re.compile(r"\{(?=[^}])([1-9]\d*)?(/\.|//|/|\.|#|%)?\}(?!\})")
"""GNU parallel's placeholders, https://www.gnu.org/software/parallel/man.html, but ``{}`` itself."""
_PARTS = {None: "", ".": "root", "/": "name", "//": "parent", "/.": "stem"}


def literal(text: str) -> str:
    """Return a text that a spec takes as it is: there are no ``${…}`` of a spec's on a command line."""
    return text.replace("${", "$${")


def shell_string(text: str, names: Sequence[str], size: int = 0) -> str:
    """Give the items their places in a shell string; they are appended where no place is named.

    ``names`` are those of the inputs; none: there is one input, whose items are ``{}``. Of batches of
    ``size`` items, ``{1}`` is the first. Raises UsageError for a place that no input has, SpecError for one
    of an input that stands in quotes.
    """
    short = {match.start(): match for match in _SHORT.finditer(text)}
    # In quotes nothing is replaced: a placeholder of a spec's is an error of its check there.
    command = Text("the command", text)
    parts, problems, end = [], [], 0
    for start, inside in surroundings(text, {start: match.end() for start, match in short.items()}):
        match = short[start]
        if inside is None:
            parts += [text[end:start], _spelled(match, names, size)]
            end = match.end()
        elif _names_input(match, names, size):
            fault = misplaced(Placeholder(match[0], start, inside), text)
            hint = f"{fault.hint}; {{{match[0]}}} is {match[0]} itself"
            problems.append(command.problem(fault.message, fault.line, fault.column, hint))
    if problems:
        raise SpecError(problems)
    text = "".join([*parts, text[end:]])
    # Braces that name no input may be the shell's own, such as `{a,b}`: they count as no place.
    inputs_named = names or ["", *_of_batch(size)]
    named = any(place.inside is None or place.name in inputs_named for place in placeholders(text))
    return text if named else " ".join([text, *_all(names)])


def argv(words: Sequence[str], names: Sequence[str], size: int = 0) -> list[str]:
    """Give the items their places in a program's arguments likewise, which no shell reads."""
    spelled = [place(word, names, size) for word in words]
    named = any(True for word in spelled for _ in words_in_braces(word))
    return spelled if named else [*spelled, *_all(names)]


def place(text: str, names: Sequence[str], size: int = 0) -> str:
    """Spell the short placeholders of a text that no shell reads. Raises UsageError."""
    return _SHORT.sub(lambda match: _spelled(match, names, size), text)


def _of_batch(size: int) -> list[str]:
    """Return the names of the items of a batch."""
    return [f"arg{number}" for number in range(1, size + 1)]


def _names_input(match: re.Match[str], names: Sequence[str], size: int) -> bool:
    """Tell whether a short placeholder with a number can only be meant for an input."""
    number, kind = match[1], match[2]
    # `a{2}` is also how often something comes in a pattern: with one input that is what it means.
    count = max(1, len(names)) if kind else size or len(names)
    return number is not None and kind in _PARTS and int(number) <= count


def _spelled(match: re.Match[str], names: Sequence[str], size: int) -> str:
    """Return the name that a spec has for a short placeholder. Raises UsageError where there is none."""
    number, kind = match[1], match[2]
    # GNU parallel's `{#}` and `{%}` are about the run and not about an input.
    if kind == "#" and number is None:
        return "{number}"
    if kind == "%" and number is None:  # to be off by one in silence would be the wrong GPU
        raise UsageError(
            "{%} counts from 1, and engines from 0", hint="{slot} is an engine's number, from 0"
        )
    # `{1}` of a batch is its first item, and else the first input.
    part = _PARTS.get(kind)
    if size and number is not None and kind is None and int(number) <= size:
        return f"{{{_of_batch(size)[int(number) - 1]}}}"
    if part is None or (number is None and names):
        hint = (
            f"say which: {{1{kind}}}" if part is not None else "arcli map --help has those that there are"
        )
        raise UsageError(f"the place {match[0]} means nothing here", hint=hint)
    # A number beyond the inputs would be an empty word to a shell, and `rm -r {2}` no mistake.
    if int(number or 1) > max(1, len(names)):
        inputs = f"there are {len(names)} inputs" if names else "there is one input"
        raise UsageError(
            f"the place {match[0]} has no input: {inputs}", hint=f"{{{match[0]}}} is {match[0]} itself"
        )
    key = names[int(number or 1) - 1] if names else ""
    return f"{{{'.'.join(filter(None, (key, part)))}}}"


def _all(names: Sequence[str]) -> list[str]:
    return [f"{{{name}}}" for name in names] or ["{}"]


_OF_NUMBERS = {"range", "linspace", "logspace"}
_OF_PATHS = {"lines", "csv", "jsonl", "parquet", "glob"}


def spec_tree(batch: Batch, relative: Callable[[str], str]) -> Node:
    """Return the tree of the spec; ``relative`` makes a path one that is relative to the spec's folder.

    Raises SpecError for an ``--over`` that is none, and for a command with a place in quotes.
    """
    called = "arcli map"
    # Every node says which part of the command line it comes from, so that errors can name that.
    job: dict[str, Any] = {}
    if batch.function is not None:
        function = batch.function
        if kind_of(function) == "file":
            path, _, name = function.rpartition(":")
            function = f"{relative(path)}:{name}"
        job["map"] = _node(function, f"-f {batch.function}")
        if batch.names and not batch.over and not batch.size:
            job["unpack"] = "args"
    else:
        job["command"] = _node(_command(batch), "the command")
    job["over"] = _over(batch, relative)
    if batch.outdir is not None:
        job["outdir"] = _node(
            relative(place(batch.outdir, batch.names, batch.size)), f"--outdir {batch.outdir}"
        )
    return _node({"name": batch.name, **batch.top, **job, **batch.job}, called)


def _command(batch: Batch) -> str | list[str]:
    """Return a shell string, or a program and its arguments, with the items in their places."""
    if batch.source is not None and batch.source[0] == "blocks":
        # A block is read, and not named.
        words = [place(word, ()) for word in batch.call]
        return words[0] if len(words) == 1 else words
    if len(batch.call) == 1:
        return shell_string(batch.call[0], batch.names, batch.size)
    return argv(batch.call, batch.names, batch.size)


def _over(batch: Batch, relative: Callable[[str], str]) -> Node:
    """Tell where the items come from: one source, or every combination of several."""
    if batch.source is not None:
        key, value = batch.source
        if key == "blocks":
            of = value["of"] if value["of"] == "stdin" else relative(value["of"])
            return _node({key: {**value, "of": of}}, "--pipe")
        return _node({key: value if key == "stdin" else relative(value)}, f"--{key} {value}")
    nodes = []
    for part in batch.inputs:
        if part.file is None:
            # To a command they are text, as lines of files are: a number has no `{/}`.
            items = part.items if batch.function is None else _numbers(part.items)
            nodes.append(_node(items, part.label))
        elif part.file == "-":
            nodes.append(_node({"stdin": "lines"}, part.label))
        else:
            nodes.append(_node({"lines": relative(part.file)}, part.label))
    if not batch.names:
        return nodes[0]
    # Inputs that are linked go side by side; each such group is one factor of the combination.
    groups: list[dict[str, Node]] = []
    for name, part, node in zip(batch.names, batch.inputs, nodes, strict=False):
        if not part.linked:
            groups.append({})
        groups[-1][name] = node
    groups += [{name: _named(name, value, relative)} for name, value in batch.over]
    # What goes side by side is one factor of the combination, or all there is.
    if len(groups) == 1 and len(groups[0]) > 1:
        return _node({"zip": groups[0]}, "the inputs")
    factors: dict[str, Any] = {}
    for group in groups:
        factors |= group if len(group) == 1 else {"_".join(group): {"zip": group}}
    return _node({"product": factors}, "the inputs")


def _named(name: str, value: str, relative: Callable[[str], str]) -> Node:
    """Return the source that ``--over NAME=VALUE`` means: ``KIND:…``, YAML in brackets, or items."""
    label = f"--over {name}={value}"
    kind, colon, rest = value.partition(":")
    if colon and kind in _OF_NUMBERS:
        numbers = [_scalar(_value(word.strip()), label, word) for word in rest.split(",")]
        single = len(numbers) == 1 and kind == "range"
        return _node({kind: numbers[0] if single else numbers}, label)
    if colon and kind in keys():
        return _node({kind: relative(rest) if kind in _OF_PATHS else rest}, label)
    if value[:1] in {"[", "{"}:
        return compose(Text(label, value))
    return _node(_numbers(value.split(",")), label)


def _numbers(words: Sequence[str]) -> Sequence[Any]:
    """Return words as numbers where the text of every one survives it, else as they are."""
    values = [_value(word) for word in words]
    survive = all(
        isinstance(value, int | float) and str(value) == word
        for value, word in zip(values, words, strict=True)
    )
    return values if survive else words


def _value(word: str) -> Any:
    try:
        value = scalars.resolve(word)
    except ValueError:
        return word
    return word if isinstance(value, bool) else value


def _node(value: Any, label: str) -> Node:
    """Return plain data, of which parts may be nodes already, as a node; all else of it has one label."""
    text = Text(label, label)
    match value:
        case Node():
            return value
        case list() | tuple():
            return Node("list", [_node(part, label) for part in value], text, 0, 0)
        case dict():
            keys = {key: Node("scalar", key, text, 0, 0, raw=key) for key in value}
            entries = {key: Entry(keys[key], _node(part, label)) for key, part in value.items()}
            return Node("map", entries, text, 0, 0)
        case str():
            return Node("scalar", literal(value), Text(label, value), 0, 0, raw=value)
    return _scalar(value, label, str(value))


def _scalar(value: Any, label: str, raw: str) -> Node:
    return Node("scalar", value, Text(label, label), 0, 0, raw=raw, plain=True)


def relative_to(folder: Path) -> Callable[[str], str]:
    """Paths of the command line, which are relative to the working directory, as relative to ``folder``."""
    if folder.resolve() == Path.cwd():
        return lambda path: path
    return lambda path: path if os.path.isabs(path) else os.path.relpath(path, folder)  # noqa: PTH117


def yaml_text(tree: Node) -> str:
    """Return a tree as YAML that arcli reads back as the same. Raises UnicodeError for text that is not
    UTF-8.
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        """Text that YAML 1.2 would take for something else stands in quotes."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    # PyYAML quotes by the rules of YAML 1.1, where `no` means something and `1e3` does not.
    def text(dumper: Any, value: str) -> Any:
        value.encode()
        try:
            means_something = not isinstance(scalars.resolve(value), str)
        except ValueError:
            means_something = True
        style = None
        if means_something or not value.replace("\n", "").isprintable():
            style = '"'
        elif "\n" in value:
            style = "|" if value == value.strip() else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return str(yaml.dump(tree.plain_data(), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100))
