"""A job of the spec as what engines and sessions need of it."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from zlib import adler32, crc32

from msgspec import Struct, field

from arcli.engine.encode import canonical
from arcli.engine.functions import kind_of
from arcli.engine.keys import salted
from arcli.engine.limits import UNKNOWN
from arcli.engine.program import NUMBER
from arcli.engine.protocol import JobDefinition
from arcli.engine.template import Template
from arcli.fields import Share
from arcli.inputs.braces import expanded
from arcli.inputs.glob import pattern_steps
from arcli.paths import is_file
from arcli.placeholders import compiled, compiled_script, escaped
from arcli.plan.deferred import Texts, scattered_values, to_engine
from arcli.specfile.model import Job, Setup, Spec
from arcli.syntax import is_async

COMMAND_FIELDS = ("command", "command_stdin", "cwd", "env", "ok_exit", "parse")
"""What of a job makes a command."""
FEW = 100
"""Outcomes that are announced one by one, at most: each is a message more."""


class JobPlan(Struct, frozen=True, kw_only=True):
    """``job`` with its late values filled in, ``definition`` as it travels to engines.

    ``salt`` is the JSON text that every key of the job begins with; ``parts`` has hashes of what it is
    made of, by what people call it, so that what has changed can be named. ``gathered``: what its items
    do on the engines counts, too, so that no record stands for one.
    """

    job: Job
    definition: JobDefinition
    salt: str
    parts: Mapping[str, str] = field(default_factory=dict)
    gathered: bool = False

    @property
    def name(self) -> str:
        """The job's name."""
        return self.job.name

    @property
    def concurrency(self) -> int:
        """How many items an engine runs side by side, at most."""
        return self.definition.concurrency

    def hasher(self) -> Any:
        """Return a hasher that has taken in the salt, for ``engine.keys.item_key``."""
        return salted(self.salt)


def plan_job(
    spec: Spec,
    job: Job,
    *,
    resolve: Callable[[Any], Any],
    pushed: Mapping[str, str],
    gathered: bool,
    unpack: Literal["none", "args", "kwargs", "nothing"],
    keep_opaque: bool = False,
    run_folder: str = "",
    whole_output: bool = False,
    at_once: int | None = None,
    slots: int = 1,
) -> JobPlan:
    """Return what engines must know of a job. ``resolve`` fills in what is late but not an engine's.

    ``pushed`` are digests of the values that the job finds, or may find, by a ``push_as``, by their jobs.
    ``gathered`` is as in a JobPlan.
    ``keep_opaque`` asks engines for pickles of values that JSON does not hold exactly, because a
    reducer or a later job needs the real ones. ``run_folder`` is where the run keeps its
    files; ``whole_output`` asks for what a command prints beyond what its record holds. ``at_once`` is how
    many items are to run at a time on all ``slots`` engines together, None: as the job says of each.
    """
    folder = str(spec.folder)
    texts = Texts(job)
    # What of a job, beside its input, decides an item's value.
    deciding = {
        "kind": job.kind,
        "function": job.map or job.apply or "",
        "args": to_engine(resolve(job.args)),
        "kwargs": to_engine(resolve({**job.kwargs, **texts.given})),
        "unpack": unpack,
        "command": texts.command,
        "command_stdin": texts.stdin,
        "cwd": _working_folder(texts.cwd, folder),
        "env": texts.env,
        "ok_exit": list(job.ok_exit),
        "parse": job.parse,
        "notebook": str(spec.folder / job.notebook) if job.notebook else None,
    }
    # Where a job has none, its keys are what they were before there were any.
    if job.shell is not None:
        deciding["interpreter"] = job.shell
    concurrency, wider = side_by_side(job, spec.folder, at_once, slots)
    definition = JobDefinition(
        name=job.name,
        batch=job.batch or 0,
        block=next(iter(job.blocks), None),
        sizes=job.over is not None and any(part.kind == "blocks" for _, part in job.over.walk()),
        folder=folder,
        run_folder=run_folder,
        whole_output=whole_output,
        artifacts=[
            (path, part.required, pattern_steps(path))
            for part in job.artifacts
            for path in expanded([part.path])
        ],
        concurrency=concurrency,
        wider=wider,
        announced=_announced(job),
        timeout=UNKNOWN if isinstance(job.timeout, Share) else job.timeout,
        retries=job.retries,
        capture=job.capture,
        keep_opaque=keep_opaque,
        reducers=[text for text in (job.reduce, job.combine, job.finish) if text],
        outdir=outdir_of(job, spec.folder, run_folder),
        **with_templates(deciding),
    )
    # The code that a function or a notebook is in decides a value, too, but a comment that is changed
    # should not cost hours: it is no part of the keys; `Kept.compare` minds it where that is asked for.
    # How many run side by side is no part of what decides a value.
    described = _described(spec.setup, spec.folder, job, deciding, definition, resolve)
    # Where a job finds none, its keys are what they were before there were any.
    if pushed:
        described["pushed"] = dict(pushed)
    if spec.setup.scatter:
        described["engines"] = slots
    if definition.notebook is not None:
        source = Path(definition.notebook).read_text("utf-8", "replace")
    else:
        source = source_of(definition.function, spec.folder)
    salt = canonical(described)[0]
    # Hashes of the same by what people call it: `--resume --explain` names what has changed.
    parts = {
        "function": [definition.kind, definition.function, definition.unpack, definition.notebook],
        "constants": [definition.args, definition.kwargs],
        "command": [deciding.get(name) for name in (*COMMAND_FIELDS, "interpreter")],
        "setup": described["setup"],
        "source": source,
        "file": described.get("blocks"),
        "pushed values": described.get("pushed"),
        "number of engines": described.get("engines"),
    }
    return JobPlan(
        job=job,
        definition=definition._replace(salt=salt),
        salt=salt,
        gathered=gathered,
        parts={
            name: hashlib.sha256(canonical(part)[0].encode("utf-8", "surrogatepass")).hexdigest()[:16]
            for name, part in parts.items()
        },
    )


def side_by_side(job: Job, folder: Path, at_once: int | None, slots: int) -> tuple[int, int]:
    """Return how many items an engine runs at a time, and how many engines do where others run one less.

    ``at_once`` is for all ``slots`` engines together, None where only the spec says something; 0 engines
    that run more are all alike.
    """
    if at_once is None:
        return job.concurrency, 0
    if not can_run_beside(job, folder):
        return 1, 0
    # What does not divide evenly goes to the engines that come first.
    return -(-at_once // slots), at_once % slots


def can_run_beside(job: Job, folder: Path) -> bool:
    """Tell whether an engine can run several items of a job side by side, as far as text can tell.

    It cannot where items travel alone, nor where functions find the item's folder in their environment, for
    all calls have one.
    """
    if job.delay or job.chunksize == 1:
        return False
    return job.kind == "command" or (
        job.map is not None and job.outdir is None and is_async(job.map, folder) is True
    )


def outdir_of(job: Job, folder: Path, run_folder: str) -> Template:
    """Return where items have their folders: relative to the spec's ``folder``, or in that of the run.

    It is empty where they have none.
    """
    # In the run's folder it is the number alone, whatever keys items have: no input leads out of there.
    if job.outdir is True:
        pattern = os.path.join(escaped(run_folder), "outdir", job.name, f"{{{NUMBER}}}")  # noqa: PTH118
        return compiled(pattern)
    return compiled(_working_folder(job.outdir, str(folder)) or "")


def _working_folder(cwd: str | None, folder: str) -> str | None:
    """Make a folder relative to the spec; what begins with an item's value is the item's."""
    if cwd is None or (cwd.startswith("{") and not cwd.startswith("{{")):
        return cwd
    return os.path.join(escaped(folder), cwd)  # noqa: PTH118 - may hold {placeholders}


def with_templates(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a definition's fields with the texts that have placeholders in parts, as they travel."""
    texts = {name: fields[name] for name in ("command_stdin", "cwd") if fields.get(name) is not None}
    command, env = fields.get("command"), fields.get("env", {})
    return {
        **{name: field for name, field in fields.items() if name != "command"},
        **{name: compiled(text) for name, text in texts.items()},
        "shell": compiled_script(command) if isinstance(command, str) else None,
        "argv": [compiled(part) for part in command] if isinstance(command, list) else (),
        "env": {name: compiled(text) for name, text in env.items()},
    }


def _announced(job: Job) -> list[str]:
    """Return the outcomes of which a few end the job: what begins before they are known is in vain."""
    halt = job.halts
    if halt is None:
        return []
    limits = {"ok": halt.ok, "failed": halt.failed}
    return [
        outcome
        for outcome, limit in limits.items()
        if limit is not None and limit.percent is None and (limit.count or 0) <= FEW
    ]


def _described(
    setup: Setup,
    folder: Path,
    job: Job,
    deciding: Mapping[str, Any],
    definition: JobDefinition,
    resolve: Callable[[Any], Any],
) -> dict[str, Any]:
    """Return all that decides an item's value beside its input, as data."""
    # All of the setup is in it, also what this job may not use: nobody can tell from outside which
    # names a function reaches. A run too many is better than an old value.
    described: dict[str, Any] = {
        "job": deciding,
        "setup": {
            "imports": setup.imports,
            "push": to_engine(resolve(setup.push)),
            "scatter": {
                name: to_engine(scattered_values(part, folder, resolve))
                for name, part in setup.scatter.items()
            },
            "run": setup.run,
        },
    }
    # Where a job has none, its keys are what they were before there were any.
    if files := _files_by_place(job, folder):
        described["blocks"] = files
    if definition.outdir:
        described["folder"] = [job.outdir, [[path, required] for path, required, _ in definition.artifacts]]
    return described


def _files_by_place(job: Job, folder: Path) -> list[list[Any]]:
    """Return how the files stand of which the job's items are places."""
    walk = job.over.walk() if job.over is not None else ()
    states = (part.input.state(folder) for _, part in walk)
    return [state for state in states if state is not None]


def source_of(function: str, folder: Path) -> str:
    """Return the text of the file that a function is in, as far as it can be found without importing."""
    file = source_file(function)
    path = folder / file if file is not None else None
    return path.read_text("utf-8", "replace") if path is not None and is_file(path) else function


def source_file(function: str) -> str | None:
    """Return the path of the file that a function would be in beside its spec, None of an expression."""
    if kind_of(function) == "expression":
        return None
    file = function.strip().rpartition(":")[0]
    return file if file.endswith(".py") else file.replace(".", "/") + ".py"


NEW = 1 << 22
"""Places of a table in which most items are found to be the first of their kind."""
ROWS = 4
WIDTH = 1 << 18
_MASK = WIDTH - 1


class Occurrences:
    """Counts equal items: by a table of places, of which the first item of each takes one, and beyond.

    Those that find their place taken are counted by a count-min sketch with conservative updates. The
    number that an item gets may be too large where others collide with it, but it is the same for the
    same sequence of items, and no two equal items get the same one: that is all that a key needs.
    (Cormode and Muthukrishnan, 2005, https://doi.org/10.1016/j.jalgor.2003.12.001)
    """

    def __init__(self) -> None:
        self._taken = bytearray(NEW)
        # A byte a counter, as long as none is full: all of them then stay in a processor's cache.
        self._rows: list[Any] = [bytearray(WIDTH) for _ in range(ROWS)]
        self._full = 255

    def numbers(self, fingerprints: Sequence[bytes]) -> list[int]:
        """Return of each of these fingerprints how many equal ones came before it, at least."""
        taken, mask = self._taken, NEW - 1
        numbers = [0] * len(fingerprints)
        late: list[int] = []
        for position, place in enumerate(map(crc32, fingerprints)):
            if taken[place & mask]:
                late.append(position)
            else:
                taken[place & mask] = 1
        if late:
            counts = self._counted([fingerprints[position] for position in late])
            for position, count in zip(late, counts, strict=True):
                numbers[position] = count + 1
        return numbers

    def _counted(self, fingerprints: Iterable[bytes]) -> list[int]:
        """Return of each how many equal ones were counted here before it, at least."""
        # Four places from two hashes (Kirsch and Mitzenmacher, 2006), written out: this runs for
        # each item of every source, and a loop over the rows takes three times as long.
        a, b, c, d = self._rows
        numbers: list[int] = []
        for fingerprint in fingerprints:
            i = crc32(fingerprint) & _MASK
            step = (adler32(fingerprint, len(fingerprint)) | 1) & _MASK
            j = (i + step) & _MASK
            k = (j + step) & _MASK
            m = (k + step) & _MASK
            in_a, in_b, in_c, in_d = a[i], b[j], c[k], d[m]
            seen = min(in_b, in_a)
            if in_c < seen:
                seen = in_c
            if in_d < seen:
                seen = in_d
            if seen == self._full:
                a, b, c, d = self._rows = [array("I", [*row]) for row in self._rows]
                self._full = -1
            numbers.append(seen)
            # Only the smallest counters grow: the others have been raised by items that collide here.
            more = seen + 1
            if in_a == seen:
                a[i] = more
            if in_b == seen:
                b[j] = more
            if in_c == seen:
                c[k] = more
            if in_d == seen:
                d[m] = more
        return numbers
