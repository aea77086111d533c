"""A command as an item: started, timed, its whole process group ended with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from .blank_files import BlankFiles
from .capture import CAP, NOTHING, WHOLE, keep_whole, printed_path
from .ends import killed_by
from .limits import TimeLimit, held
from .live import GrowingFile, Live, Patrol
from .parse import float_value, json_value
from .program import VARIABLE, ProgramFailed, not_started
from .protocol import JobDefinition
from .shell_less import is_binary, pwd_holds, words_of
from .spawn import LOOK, Child, Exits, Streams, start
from .template import COUNTED, Names, Template, argv_call, filled, shell_call

KILL_AFTER = 2.0
"""Seconds that a process group has between SIGTERM and SIGKILL."""
PARSED = 64 << 20
"""Bytes of output that ``parse`` takes; it never works on a part."""


_VARIABLES = {name: os.fsencode(f"ARCLI_{name.upper()}") for name in COUNTED}


class CommandFailed(ProgramFailed):
    """A command that ended with an exit status that is not ok, or by a signal."""


class Unparsable(ProgramFailed):
    """A command's output that is not what ``parse`` says."""


class CommandLine:
    """How a job's command is started: what is found out once for all of its items.

    ``environment`` is this process's and what is the same for all, as bytes, which is what a new process
    takes: encoding forty variables anew for each item takes as long as all that is Python's of starting it.
    ``inherited`` are descriptors that are kept from programs; to be looked for from time to time.
    """

    def __init__(self, job: JobDefinition) -> None:
        self.job = job
        run = os.path.basename(job.run_folder)  # noqa: PTH119 - nothing heavier here
        own = {b"ARCLI_JOB": os.fsencode(job.name), b"ARCLI_RUN": os.fsencode(run)}
        self.environment = {**os.environb, **own}
        self.inherited: Sequence[int] = ()
        self._programs: dict[str, str | None] = {}
        self._argv = job.argv if job.shell is None else self._without_shell(job.shell)

    def argv(self, names: Names) -> list[str]:
        """Return the program and its arguments for an item. Raises BadTemplate."""
        if self._argv is not None:
            return argv_call(self._argv, names)
        assert self.job.shell is not None
        return shell_call(self.job.shell, names, self.job.interpreter)

    def _without_shell(self, script: Template) -> Sequence[Template] | None:
        """Return the argv of a shell string that needs no shell; None where it needs one.

        A shell also corrects $PWD, and a batch may be several words beside a text.
        """
        job = self.job
        words = words_of(script)
        if words is None or job.cwd or job.batch or job.interpreter != "/bin/sh":
            return None
        program = str(words[0][0])
        found = is_binary(program if "/" in program else self.program(program))
        return words if found and pwd_holds(self.environment) else None

    def program(self, name: str) -> str | None:
        """Return where a program is: it is looked for once; None leaves that to the system."""
        if name not in self._programs:
            path = None if "PATH" in self.job.env else os.fsdecode(self.environment.get(b"PATH", b""))
            place = shutil.which(name, path=path) if path and "/" not in name else None
            self._programs[name] = place if place is not None and os.path.isabs(place) else None  # noqa: PTH117
        return self._programs[name]


class Command:
    """A command of a job, which is run for one item at a time.

    The value is ``{exit, stdout, stderr}``, or what ``parse`` makes of stdout. ``constants`` has what
    placeholders stand for in all items, ``slot`` is this engine's; it prints to ``files``. Those that run
    side by side wait by the same ``exits``. In its environment a command finds this process's, and
    ``ARCLI_JOB``, ``ARCLI_INDEX``, ``ARCLI_NUMBER``, ``ARCLI_ATTEMPT`` and ``ARCLI_SLOT``. ``usage`` has
    the last child's user and system seconds and its peak memory in bytes (None where that cannot be
    known), ``printed`` what it wrote.
    """

    def __init__(
        self,
        line: CommandLine,
        constants: Mapping[str, Any],
        files: BlankFiles,
        patrol: Patrol,
        slot: int = 0,
        exits: Exits | None = None,
    ) -> None:
        self._exits = exits or Exits()
        self._line = line
        self._job = line.job
        self._constants = constants
        self._files = files
        self._patrol = patrol
        self._slot = slot
        self.usage: dict[str, float | None] | None = None
        self.printed = NOTHING

    def run(self, item: Any, index: int, attempt: int = 1, outdir: str | None = None) -> Any:
        """Run the command for one item. Raises CommandFailed, Unparsable, BadTemplate, OSError."""
        with held() as release, self._started(item, index, attempt, outdir) as (child, output):
            try:
                release()
                self._reap(child, 0)
            finally:
                self._end(child)
            return self._value(child, output)

    async def run_beside(self, item: Any, index: int, attempt: int = 1, outdir: str | None = None) -> Any:
        """Run the command as ``run`` does, while others run; each needs a Command of its own."""
        with self._started(item, index, attempt, outdir) as (child, output):
            try:
                await self._exits.of(child.pid)
                self._reap(child, 0)
            finally:
                await self._end_beside(child)
            return self._value(child, output)

    @contextlib.contextmanager
    def _started(
        self, item: Any, index: int, attempt: int, outdir: str | None
    ) -> Iterator[tuple[Child, _Output]]:
        """Start the command; what it has printed by the end is kept."""
        folder = {} if outdir is None else {"outdir": outdir}
        constants = {**self._constants, **folder}
        names = Names(item, index, constants, attempt=attempt, slot=self._slot, batch=self._job.batch)
        argv = self._line.argv(names)
        # A record keeps less than what is parsed or copied to a file, so the command may print more than
        # that.
        cap = WHOLE if self._job.whole_output else PARSED if self._job.parse else CAP
        with _Output(self._files, cap, index, attempt) as output:
            child = self._start(argv, names, output, outdir, item)
            try:
                with self._patrol.over(output):
                    yield child, output
            except BaseException:
                self.printed = output.printed()
                raise
            finally:
                if self._job.whole_output:
                    output.keep(self._job, index, attempt)

    def _value(self, child: Child, output: _Output) -> Any:
        """Make the item's value of what the command printed and ended with, or raise CommandFailed."""
        self.printed = output.printed()
        value = {"exit": child.returncode, "stdout": self.printed[0], "stderr": self.printed[1]}
        assert child.returncode is not None
        if child.returncode not in self._job.ok_exit:
            status = child.returncode
            raise CommandFailed(f"exit status {status}" if status >= 0 else killed_by(-status), value)
        return value if self._job.parse is None else _parsed(output, self._job.parse, value)

    def _start(
        self, argv: list[str], names: Names, output: _Output, outdir: str | None, item: Any
    ) -> Child:
        """Start the program in a session of its own, so that all that it starts ends with it."""
        # The item's own variables last but one: what the spec sets under `env` wins.
        counted = {_VARIABLES[name]: b"%d" % number for name, number in names.counted.items()}
        env = {} if outdir is None else {VARIABLE: outdir}
        env.update({name: filled(text, names) for name, text in self._job.env.items()})
        with contextlib.ExitStack() as stack:
            stdin = self._files.null
            # From a file, not a pipe: a command that reads none of it must not block or break one.
            if self._job.command_stdin is not None or self._job.block is not None:
                feed: IO[bytes] = stack.enter_context(tempfile.TemporaryFile())
                if self._job.command_stdin is not None:
                    feed.write(os.fsencode(filled(self._job.command_stdin, names)))
                else:
                    _write_block(item[self._job.block] if self._job.block else item, feed)
                feed.seek(0)
                stdin = feed.fileno()
            streams = Streams(stdin, self._lent(output.out, stack), self._lent(output.err, stack))
            cwd = filled(self._job.cwd, names) if self._job.cwd else None
            try:
                own = {os.fsencode(name): os.fsencode(value) for name, value in env.items()}
                environment = {**self._line.environment, **counted, **own}
                program, inherited = self._line.program(argv[0]), self._line.inherited
                return start(argv, program, environment, streams, cwd, inherited)
            except (OSError, ValueError) as error:
                raise not_started(error, argv) from None

    def _lent(self, file: int, stack: contextlib.ExitStack) -> int:
        """Return what a child gets of a file; the stack closes it here."""
        lent = self._files.opened_again(file)
        stack.callback(os.close, lent)
        return lent

    def _reap(self, child: Child, options: int) -> None:
        """Take note of the child's end, if it has ended, and of what it used."""
        if child.returncode is not None:
            return
        try:
            pid, status, used = os.wait4(child.pid, options)
        except ChildProcessError:  # a time limit came between its end and the note
            child.returncode = -signal.SIGTERM
            return
        if pid:
            child.returncode = os.waitstatus_to_exitcode(status)
            # What the system tells are microseconds, which not every float of theirs shows as such.
            self.usage = {
                "user": round(used.ru_utime, 6),
                "system": round(used.ru_stime, 6),
                "peak_memory": _peak(used.ru_maxrss),
            }

    def _end(self, child: Child) -> None:
        """End all that is left of a command, whatever alarms come meanwhile."""
        pauses = self._ending(child)
        while True:
            try:
                for pause in pauses:
                    time.sleep(pause)
                return
            except TimeLimit:  # the timer's second alarm
                continue

    async def _end_beside(self, child: Child) -> None:
        """End all that is left of a command, also where its chunk is cancelled meanwhile."""
        cancelled: asyncio.CancelledError | None = None
        for pause in self._ending(child):
            try:
                await asyncio.sleep(pause)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def _ending(self, child: Child) -> Iterator[float]:
        """SIGTERM, later SIGKILL, to all that is left of a command; yields seconds to wait meanwhile.

        It is run to its end, also where an exception is on its way: nothing outlives its item.
        """
        # A group outlives its leader while any member does, and its number is not given to others as long.
        end = time.monotonic() + KILL_AFTER
        remains = _signal_group(child.pid, signal.SIGTERM)
        while remains:
            with contextlib.suppress(TimeLimit):
                self._reap(child, os.WNOHANG)
                late = time.monotonic() > end
                remains = _signal_group(child.pid, signal.SIGKILL if late else 0)
                if late and child.returncode is not None:
                    return  # a zombie that nobody reaps, or another user's
            if remains:
                yield LOOK


def _write_block(item: Any, file: IO[bytes]) -> None:
    """Write a block: bytes that have travelled, or those of a file that is read here. Raises OSError."""
    if isinstance(item, bytes):
        file.write(item)
        return
    left = item["length"]
    with open(item["path"], "rb") as source:  # noqa: PTH123 - nothing heavier on an engine
        source.seek(item["offset"])
        while left and (data := source.read(min(left, 1 << 20))):
            file.write(data)
            left -= len(data)
    if left:
        raise OSError(f"{item['path']} is {left} bytes shorter than it was")


def _signal_group(group: int, number: int) -> bool:
    """Tell whether there is such a group; its number is nobody else's as long as it has members."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class _Output:
    """Where one command prints to: files of its own, which nothing but it ever writes to.

    What outlives a command, in a session of its own, therefore never speaks in another's name.
    """

    def __init__(self, files: BlankFiles, cap: int, index: int, attempt: int) -> None:
        self._files = files
        self._cap = cap
        self._item = index, attempt

    def __enter__(self) -> _Output:
        self.out = self._files.take()
        try:
            self.err = self._files.take()
        except BaseException:
            self._files.give_back(self.out)
            raise
        # One byte more than the cap is left, to tell.
        cap = self._cap + 1
        self._growing = (
            GrowingFile(lambda: self.out, "out", start=0, cap=cap),
            GrowingFile(lambda: self.err, "err", start=0, cap=cap),
        )
        return self

    def look(self, live: Live) -> None:
        """See Watched."""
        for file in self._growing:
            file.look(live, *self._item)

    def __exit__(self, *exc: object) -> None:
        self._files.give_back(self.out)
        self._files.give_back(self.err)

    def printed(self) -> tuple[str, str, bool]:
        """Stdout and stderr as far as a record keeps them, and whether that is not all."""
        # Most commands print little: sizes first, then at most what a record keeps.
        sizes = [os.fstat(file).st_size for file in (self.out, self.err)]
        if not any(sizes):
            return NOTHING
        out, err = (os.pread(file, CAP, 0) for file in (self.out, self.err))
        return _decoded(out), _decoded(err), max(sizes) > CAP

    def keep(self, job: JobDefinition, index: int, attempt: int) -> None:
        """Copy what a record does not hold to a file, see ``keep_whole``."""
        for stream, file in (("out", self.out), ("err", self.err)):
            keep_whole(file, 0, printed_path(job.run_folder, job.name, index, attempt, stream))

    def whole(self) -> bytes | None:
        """Return all of stdout, None where it is too much to be parsed."""
        size = os.fstat(self.out).st_size
        return os.pread(self.out, size, 0) if size <= PARSED else None


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")


def _peak(kilobytes: int) -> int | None:
    """Return a child's peak memory in bytes, None where this process's own hides it.

    Linux counts the memory of before ``exec``, which is ours, to the child's peak, however it was
    started: https://man7.org/linux/man-pages/man2/getrusage.2.html (``ru_maxrss``). When the child
    has ended, nothing else remembers it, and to ask before would be too early.
    """
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * 1024 if kilobytes > own else None


def _parsed(output: _Output, parse: str, value: dict[str, Any]) -> Any:
    # From the file, not from the record's text, which may be cut.
    raw = output.whole()
    if raw is None:
        raise Unparsable(f"stdout is more than {PARSED >> 20} MiB, too much to be parsed", value)
    text = _decoded(raw)
    # The value travels with the error: what the command printed is kept though it cannot be parsed.
    try:
        if parse == "json":
            return json_value(text)
        if parse == "float":
            return float_value(text)
    except (ValueError, RecursionError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else error
        message = f"stdout is not {parse}: {why}: {shlex.quote(text[:80])}"
        raise Unparsable(message, value) from None
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]
