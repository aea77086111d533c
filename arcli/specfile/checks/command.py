"""A command: whether its placeholders name something, and stand where they can be filled in."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from arcli.engine.template import COUNTED, PATH_PARTS, is_name
from arcli.errors import InputError, Problem
from arcli.fields import Deferred, DeferredText
from arcli.inputs import Source
from arcli.inputs.braces import brace_problems, expanded
from arcli.paths import is_folder
from arcli.placeholders import Placeholder, placeholders, strange_braces, surroundings, words_in_braces
from arcli.specfile.checks.checked import in_text
from arcli.specfile.model import Cluster, Job
from arcli.specfile.tree import Places
from arcli.suggest import did_you_mean
from arcli.syntax import Fault

_PLAIN = {"", *COUNTED}
_ELSEWHERE = {
    "{.}": "{root}",
    "{/}": "{name}",
    "{//}": "{parent}",
    "{/.}": "{stem}",
    "{#}": "{number}",
    "{%}": "{slot}, which counts from 0",
}
"""GNU parallel's placeholders, and what they are here."""
SHOWN = 3
"""Keys that a hint says cannot stand in braces."""
_WORD = re.compile(r"\s*([A-Za-z0-9_][A-Za-z0-9_.+-]*)(?=\s+[^\s(]|\s*$)")
_OF_SHELLS = frozenset(
    """
    alias bg break builtin case cd command continue declare dirs disown do done echo elif else enable esac
    eval exec exit export false fc fg fi for function getopts hash if in jobs kill let local mapfile popd
    printf pushd pwd read readonly return select set shift shopt source test then time times trap true type
    typeset ulimit umask unalias unset until wait while
    """.split()  # noqa: SIM905 - a word a line would be a page
)
"""Words that a shell knows itself."""


class ItemNames(NamedTuple):
    """The names that items have; not ``complete``: perhaps others, too."""

    known: set[str]
    complete: bool

    @property
    def own(self) -> list[str]:
        """Names of the items' own that can stand in braces."""
        return sorted(filter(is_name, self.known - _PLAIN - {*PATH_PARTS}))

    @property
    def unnamed(self) -> list[str]:
        """Keys of the items that cannot stand in braces."""
        return sorted(name for name in self.known if not is_name(name))

    def listed(self) -> str:
        """Return all names in braces, the items' own first, and which keys have to be renamed for that."""
        names = [*self.own, *sorted(self.known & (_PLAIN | {*PATH_PARTS}))]
        listing = ", ".join(f"{{{name}}}" for name in names)
        if not self.unnamed:
            return listing
        more = ["…"] if len(self.unnamed) > SHOWN else []
        shown = ", ".join([*map(repr, self.unnamed[:SHOWN]), *more])
        return f"{listing}; rename {shown}: names have letters, digits, _, - and ., and not digits alone"

    def has(self, name: str) -> bool:
        """Tell whether a placeholder can be filled in, as far as is known."""
        key, _, part = name.rpartition(".")
        return name in self.known or (part in PATH_PARTS and key in self.known - _PLAIN)


def programs(job: Job, cluster: Cluster, folder: Path, places: Places) -> Iterator[Problem]:
    """Yield what a command cannot be run without: a program, its shell and its folder."""
    # An argv list, or the first word for a shell, which may begin with anything: an assignment, a
    # redirection, a function. Only a plain word that no shell knows itself is surely a program.
    program: object = ""
    if isinstance(job.command, list):
        if not job.command:
            yield places.problem("an argv list needs a program", "command")
        first = job.command[0] if job.command else ""
        program = first if isinstance(first, str) and not {*"/{}"} & {*first} else ""
    elif isinstance(job.command, str):
        if not job.command.strip():
            yield places.problem("the command is empty", "command")
        word = _WORD.match(job.command)
        program = word[1] if word is not None and word[1] not in _OF_SHELLS else ""
    # What is on the PATH here says nothing of engines on other hosts, or with another PATH.
    elsewhere = cluster.joined_by or cluster.launcher not in {"embedded", "local", "inline"}
    if not (elsewhere or "PATH" in {*job.env, *cluster.env}):
        for key, name in (("command", program), ("shell", job.shell)):
            if name and shutil.which(str(name)) is None:
                hint = "install it, or give its path"
                yield places.problem(f"there is no program {name!r} on PATH", key, hint=hint)
    # A folder with placeholders is another one for each item, and is looked for by the engine.
    fixed = isinstance(job.cwd, str) and "{" not in job.cwd
    if fixed and not is_folder(folder / str(job.cwd)):
        yield places.problem(f"there is no folder {job.cwd}", "cwd")


def texts(job: Job, source: Source | None, places: Places) -> Iterator[Problem]:
    """Yield placeholders in a command's texts that name nothing, or cannot be filled in there.

    ``source`` are the job's items, as far as they are open.
    """
    names = item_names(job, source)
    if job.outdir is not None:
        names = names._replace(known=names.known | {"outdir"})
    templates: list[tuple[tuple[str | int, ...], Any]] = [(("command",), job.command)]
    if isinstance(job.command, list):
        templates = [(("command", number), part) for number, part in enumerate(job.command)]
    templates += [(("command_stdin",), job.command_stdin), (("cwd",), job.cwd)]
    templates += [(("env", name), value) for name, value in job.env.items()]
    for path, template in templates:
        if template is None:
            continue
        # Only a shell reads quotes and comments, inside which a value could not be quoted again;
        # all other texts are words as they are.
        text, shell = str(template), path == ("command",)
        for name in placeholders(text) if shell else words_in_braces(text):
            if (fault := placeholder_fault(name, text, names)) is not None:
                yield in_text(fault, places, *path)
        for found in _unfilled(template) if shell else ():
            yield in_text(misplaced(found, text), places, *path)
        # Braces around no name are left to the program, as in awk '{print}', unless they are what
        # GNU parallel would fill in, or around a key of the items that is no name.
        unnamed = {f"{{{key}}}" for key in names.unnamed if not key.isdecimal()}
        for found in strange_braces(text, names.unnamed, shell=shell):
            if found.inside is None or found.name in unnamed | _ELSEWHERE.keys():
                yield in_text(_strange(found, text, names), places, *path)


def _strange(found: Placeholder, text: str, names: ItemNames) -> Fault:
    """Return what is wrong with braces that are another tool's placeholder, or nobody's."""
    line, column = _position(found, text)
    # {1} and {2} are items of several inputs in GNU parallel, which have names here.
    here = _ELSEWHERE.get(found.name)
    message = f"{found.name} is no placeholder here"
    if found.name[1:-1] in names.unnamed:
        return Fault(message, f"there are: {names.listed()}", line, column)
    keys = names.listed() if names.complete else "{key}"
    if here is None and found.name[1:-1].rstrip("./").isdecimal():
        here = " or ".join(f"{{{name}}}" for name in names.own or [""])
    hint = f"write {here}" if here else f"there are: {keys}"
    itself = f"{{{found.name}}} is {found.name} itself"
    # In quotes it is more likely the program's own, and no other name is filled in there.
    in_quotes = f"{itself}; outside of {found.inside}, {hint}"
    return Fault(message, f"{hint}; {itself}" if found.inside is None else in_quotes, line, column)


def _unfilled(script: Any) -> Iterator[Placeholder]:
    """Yield the late values of a shell string that stand where none is filled in."""
    ends: dict[int, int] = {}
    end = 0
    for part in script.parts if isinstance(script, DeferredText) else ():
        start, end = end, end + len(str(part))
        if isinstance(part, Deferred):
            ends[start] = end
    text = str(script)
    inside = dict(surroundings(text, ends))
    for start, end in ends.items():
        # What a comment holds is nothing to anybody.
        escaped = start not in inside and text[start - 1] == "\\"
        if around := "a backslash escape" if escaped else inside.get(start):
            yield Placeholder(text[start:end], start, around)


def _position(found: Placeholder, text: str) -> tuple[int, int]:
    """Return the line and the column of a placeholder within its text, from 0."""
    return text[: found.start].count("\n"), found.start - (text.rfind("\n", 0, found.start) + 1)


def placeholder_fault(found: Placeholder, text: str, names: ItemNames) -> Fault | None:
    """Return what is wrong with a placeholder of a text; it is a fault of the spec's."""
    line, column = _position(found, text)
    if found.inside is not None:
        if not names.has(found.name):
            return None  # the program's own braces
        return misplaced(found._replace(name=f"{{{found.name}}}"), text)
    if not names.complete or names.has(found.name):
        return None
    hint = did_you_mean(found.name, filter(is_name, names.known)) or f"there are: {names.listed()}"
    hint += f"; {{{{{found.name}}}}} is {{{found.name}}} itself"
    return Fault(f"there is no {{{found.name}}} in the items", hint, line, column)


def misplaced(found: Placeholder, text: str) -> Fault:
    """Return what is wrong with a place, here with its braces, inside something of the shell's."""
    # The value is quoted for the shell as it is put in, and inside of quotes that would end them.
    hint = f"give it a name of the shell's first: x={found.name}, then $x"
    if "quotes" in (found.inside or ""):
        hint = "leave the quotes out: values arrive whole, blanks, quotes and all"
    elif "backslash" in (found.inside or ""):
        hint = "leave the backslash out"
    message = f"{found.name} stands inside {found.inside}, where it is not filled in"
    return Fault(message, hint, *_position(found, text))


def item_names(job: Job, source: Source | None) -> ItemNames:
    """Return what the placeholders of a command can name."""
    if job.batch is not None:
        return ItemNames(_PLAIN | {f"arg{number}" for number in range(1, job.batch + 1)}, complete=True)
    if job.over is None or source is None:
        return ItemNames(_PLAIN, complete=False)
    keys = job.over.input.keys(source)
    parts = PATH_PARTS if job.over.input.paths else ()
    return ItemNames(_PLAIN | {*parts, *(keys or ())}, complete=keys is not None)


def check_outdir(job: Job, source: Source | None, places: Places) -> Iterator[Problem]:
    """Yield what is wrong with ``outdir`` and ``artifacts``; ``source`` as far as it is open."""
    if job.outdir is None:
        if job.artifacts:
            hint = 'such as `outdir: "out/{index}"`'
            yield places.key_problem("artifacts are in an outdir", "artifacts", hint=hint)
        return
    if job.kind in {"apply", "notebook"}:
        yield places.key_problem(f"outdir is for maps and commands, not for {job.kind}", "outdir")
    # `true` is a folder in the run's own, by the item's index; a text has to tell items apart
    # itself, or they would write over each other's files.
    if isinstance(job.outdir, str):
        names = item_names(job, source)
        for place in words_in_braces(job.outdir):
            if (fault := placeholder_fault(place, job.outdir, names)) is not None:
                yield in_text(fault, places, "outdir")
        if not list(words_in_braces(job.outdir)):
            hint = 'name what tells the items apart: "out/{index}"'
            yield places.problem("one folder for all items", "outdir", hint=hint)
    # What is outside could be another item's file, or one that was there before.
    for number, artifact in enumerate(job.artifacts):
        problems = [*brace_problems(artifact.path)]
        paths = [PurePath(path) for path in expanded([artifact.path])] if not problems else []
        if any(path.is_absolute() or ".." in path.parts or not path.parts for path in paths):
            problems = [InputError(f"{artifact.path!r} is not inside of the item's folder")]
        for error in problems:
            yield places.problem(error.message, "artifacts", number, hint=error.hint)
