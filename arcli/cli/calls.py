"""Calls of items as one could type them: of those that are still to run, and of those that ran."""

from __future__ import annotations

import keyword
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from arcli.cli.past import AS_RECORDED, jobs_of
from arcli.engine.encode import from_tree
from arcli.engine.functions import in_parts, kind_of
from arcli.engine.program import FAILED, PARTIAL
from arcli.engine.tally import Status
from arcli.engine.template import BadTemplate, Names, argv_call, filled, shell_text, text_of
from arcli.escape import shell_line, shell_word
from arcli.fields import Deferred, DeferredText, deferred_values
from arcli.inputs.base import Unpack
from arcli.placeholders import compiled, compiled_script
from arcli.plan.deferred import Texts
from arcli.record import NUMBER_TAGS, TwinKeys, is_whole
from arcli.reports.values import PastValues
from arcli.specfile.model import Job
from arcli.store.describe import MASK
from arcli.store.index import JournalIndex

MOST = 1000
"""Items of an earlier job whose values a call has."""


def called(
    job: Job,
    usual: Unpack,
    index: int,
    item: Any,
    *,
    attempt: int = 1,
    slot: int = 0,
    constants: Mapping[str, str] | None = None,
    fill: Callable[[Any], Any] = lambda tree: tree,
) -> str:
    """Write the call of an item as one could type it; ``usual`` is how its source has items unpacked.

    ``attempt`` and ``slot`` are what a command may be told of, ``constants`` the values of names beside
    those of its item; ``fill`` puts in what is known of late values.
    """
    job = job.model_copy(update={"args": fill(job.args), "kwargs": fill(job.kwargs)})
    if job.kind == "command":
        late = {name: fill(value) for name, value in Texts(job).given.items()}
        late = {name: str(value) if isinstance(value, Deferred) else value for name, value in late.items()}
        given = {**late, **(constants or {})}
        # A record of a batch that could not be sent has no list.
        batch = job.batch or 0 if isinstance(item, list) else 0
        return _commanded(job, Names(item, index, given, attempt=attempt, slot=slot, batch=batch))
    if job.kind == "apply":
        return function_call(job, (), {})
    unpack = job.unpack or usual
    if unpack == "kwargs" and isinstance(item, dict):
        return function_call(job, (), item)
    if unpack == "args":
        return function_call(job, item.values() if isinstance(item, dict) else item, {})
    return function_call(job, (item,), {})


def function_call(job: Job, args: Any, kwargs: dict[str, Any]) -> str:
    """Return a call of a function as one would write it."""
    # A lambda is called in parentheses; a dotted name, a file's function or a notebook is not.
    name = job.map or job.apply or job.notebook or ""
    plain = job.notebook is not None or name.replace(".", "").isidentifier()
    if kind_of(name) == "expression" and not plain:
        name = f"({name})"
    arguments = [repr(_typed(arg)) for arg in [*args, *job.args]]
    named = _typed({**job.kwargs, **kwargs})
    arguments += [f"{key}={value!r}" for key, value in named.items() if _is_name(key)]
    # Keys need not be names, but to be written as such.
    others = {key: value for key, value in named.items() if not _is_name(key)}
    arguments += [f"**{others!r}"] if others else []
    return f"{name}({', '.join(arguments)})"


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key)


class _Code(str):
    """Text that stands in a call without quotes."""

    __repr__ = str.__str__


def _typed(value: Any) -> Any:
    """Return a value whose ``repr`` is what one would type."""
    if isinstance(value, Deferred):
        return _Code(value)
    if isinstance(value, DeferredText):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return _Code(f"float('{value}')")
    return in_parts(value, _typed)


def _commanded(job: Job, names: Names) -> str:
    """Return a command with its values filled in: as it could be typed."""
    texts = Texts(job)
    try:
        # An argv list as a shell would want it typed, a shell string with its values quoted in place:
        # a run hands them over as arguments, but nobody could paste that.
        if isinstance(texts.command, list):
            called = shell_line(argv_call([compiled(part) for part in texts.command], names))
        else:
            assert texts.command is not None
            called = shell_text(compiled_script(texts.command), names, _Quoted(names))
        # What surrounds the call stands in a shell's words, too.
        env = [f"{name}={shell_word(_filled(text, names))}" for name, text in texts.env.items()]
        fed = "" if texts.stdin is None else f" <<< {shell_word(_filled(texts.stdin, names))}"
        place = "" if texts.cwd is None else f"cd {shell_word(_filled(texts.cwd, names))}; "
    except BadTemplate as error:
        return f"not possible: {error}"
    return f"{place}{' '.join([*env, called])}{fed}"


def _filled(text: str, names: Names) -> str:
    return filled(compiled(text), names)


class _Quoted(dict[str, str]):
    """Values as they could be typed, for each name that is asked for."""

    def __init__(self, names: Names) -> None:
        super().__init__()
        self._names = names

    def __missing__(self, name: str) -> str:
        return shell_line(self._names.words(name))


def _late(job: Job, call: str) -> Iterator[str]:
    """Say what a call still has in the place of values."""
    late = [*deferred_values([job.args, job.kwargs]), *Texts(job).given.values()]
    names = dict.fromkeys(str(each) for each in late if str(each) in call)
    if names:
        yield f"with {', '.join(names)} for what only the run had"
    if MASK in call:
        yield f"with {MASK} for what is not kept"


def _folder_of(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what ``{outdir}`` was while an item ran, as far as its record tells."""
    outdir = record.get("outdir")
    if not isinstance(outdir, str):
        return {}
    final = outdir if record["status"] == Status.OK else outdir.removesuffix(FAILED)
    return {"outdir": final + PARTIAL}


class _NotKept(Exception):
    """A record does not have a value as it was."""


def _kept_value(record: Mapping[str, Any]) -> Any:
    """Return the value of a record. Raises _NotKept."""
    if not (record["exact"] and is_whole(record["value"])):
        raise _NotKept
    return from_tree(record["value"])


class PastCalls:
    """The calls of a run's items, as they were: from the spec that it has kept, and from its records."""

    def __init__(self, index: JournalIndex) -> None:
        self._index = index
        self._jobs = jobs_of(index.run)
        self._values = PastValues(index)

    def of(self, record: Mapping[str, Any]) -> str | None:
        """Write the call of a record's item, and below it what is not as it was.

        None where the manifest has no such job.
        """
        past = self._jobs.get(record["job"])
        if past is None:
            return None
        job, given = past.job, record.get("input")
        # A command gets text, which bytes and keys are as well, and its block apart.
        is_command = job.kind == "command"
        block = is_command and "blocks" in past.kinds
        known = (
            is_whole(given, {*NUMBER_TAGS, "$bytes"}) if is_command else is_whole(given, kinds=past.kinds)
        )
        if not (known or block or job.kind == "apply"):
            return "not known: the record does not hold all of its input"
        call = called(
            job,
            past.unpack,
            record["index"],
            from_tree(given),
            attempt=record.get("attempt") or 1,
            slot=record.get("slot") or 0,
            constants=_folder_of(record),
            fill=self._filled,
        )
        notes = list(_late(job, call))
        if block:
            notes.append("with its block as standard input")
        elif isinstance(given, list | dict) and not (is_command or past.kinds <= {*AS_RECORDED, "stdin"}):
            notes.append("with its input as JSON has it")
        return "\n".join([call, *notes])

    def _filled(self, tree: Any) -> Any:
        """Fill in what jobs came to, as far as the run has kept that."""
        if isinstance(tree, Deferred):
            return self._value(tree) if tree.kind == "jobs" else tree
        if isinstance(tree, DeferredText):
            parts = [self._filled(part) for part in tree.parts]
            if any(isinstance(part, Deferred) for part in parts):
                return DeferredText(tuple(p if isinstance(p, Deferred) else text_of(p) for p in parts))
            return "".join(map(text_of, parts))
        return in_parts(tree, self._filled)

    def _value(self, late: Deferred) -> Any:
        """Return what a job came to, or what stands for it where that is not known."""
        name = late.name.removesuffix(".value")
        form = self._values.form(name)
        if form == "own":
            kept = self._values.kept
            return from_tree(kept[name]) if name in kept and is_whole(kept[name]) else late
        if form == "none" or self._index.count(name) > MOST:
            return late
        try:
            return self._values.collected(name, _kept_value)
        except (_NotKept, TwinKeys):
            return late
