"""Where whatever went wrong becomes a message and an exit code, once.

Messages go to stderr, with ``--errors json`` as one JSON object a line: ``{"error": {"type",
"message", "hint", "details", "exit_code", "problems"}}``. With ``--format json``, whose reader waits
for one document, the object is on stdout, too.
"""

from __future__ import annotations

import atexit
import codecs
import errno
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import click
from msgspec import Struct

from arcli import __version__
from arcli.cli.messages import WIDEST, render
from arcli.errors import (
    ArcliError,
    ClusterError,
    ExitCode,
    OutputError,
    Problem,
    ReaderGone,
    SpecError,
    UsageError,
)
from arcli.escape import plain
from arcli.outputs.stream import ColorMode, has_color

LAST_WORDS = 3.0
"""Seconds that messages have once the run was stopped."""
_FULL = {errno.ENOSPC, errno.EDQUOT}


class Call(Struct, kw_only=True):
    """One command line; verbs have it as ``ctx.obj``.

    ``format`` is what ``--format`` asks for, None where it is not given. A verb sets ``reported`` when
    its own document on stdout tells of the error. ``as_json``: stderr is for a program.
    """

    format: str | None = None
    reported: bool = False
    as_json: bool = False
    color: bool = False
    color_mode: ColorMode = "auto"

    @classmethod
    def of(cls, words: Sequence[str]) -> Call:
        """Read what matters for errors off a command line, which may well be wrong elsewhere."""
        value = option_value(words, "--color")
        mode: ColorMode = "always" if value == "always" else "never" if value == "never" else "auto"
        return cls(
            format=option_value(words, "--format"),
            as_json=option_value(words, "--errors") == "json",
            color=has_color(sys.stderr, os.environ, mode),
            color_mode=mode,
        )


def option_value(words: Sequence[str], option: str) -> str | None:
    """Find the last value of an option on a command line; None where it is not given."""
    value = None
    for place, word in enumerate(words):
        if word.startswith(f"{option}="):
            value = word.partition("=")[2]
        elif word == option and place + 1 < len(words):
            value = words[place + 1]
    return value


def guard(action: Callable[[], Any], call: Call) -> int:
    """Do it, tell of what went wrong, and return the exit code. Raises nothing."""
    try:
        code = _code(action())
        _flush_stdout()
    # Click makes `sys.exit(1)` of a pipe that broke, and 1 would be said of items that failed.
    except SystemExit as error:
        pipe = isinstance(error.__context__, BrokenPipeError)
        code = ExitCode.BROKEN_PIPE if pipe else _code(error.code)
    except click.ClickException as error:
        code = ExitCode.USAGE
        if not call.as_json:
            error.show()
        _json(call, code, "UsageError", error.format_message())
    except (click.Abort, KeyboardInterrupt):
        code = ExitCode.INTERRUPTED
    except ArcliError as error:
        code = tell(error, call)
    except OSError as error:
        code = _os_error(error, call)
    except UnicodeEncodeError as error:
        code = _no_name(error, call)
    except RuntimeError as error:
        code = _no_thread(error, call)
    except Exception as error:  # noqa: BLE001 - what nobody foresaw ends here, with its traceback
        code = _bug(error, call)
    # What is still in a buffer could not be written: whoever read stdout has gone.
    # Python would try once more when it ends, and print a traceback.
    try:
        _flush_stdout()
    except OSError:
        silence_stdout()
        code = code or ExitCode.BROKEN_PIPE
    return int(code)


def tell(error: ArcliError, call: Call) -> ExitCode:
    """Tell people, and the reader of JSON on stdout, of an error. Returns its exit code."""
    # Whoever read stdout has gone on purpose, as `head` does: there is nothing to complain of.
    if isinstance(error, ReaderGone):
        return error.exit_code
    # All problems first, then the sentence that counts them: the last line is what is seen on a screen
    # that has scrolled.
    problems = error.problems if isinstance(error, SpecError) else []
    if not call.as_json:
        if problems:
            width = os.get_terminal_size(sys.stderr.fileno()).columns if sys.stderr.isatty() else 0
            told = (render(problem, color=call.color, width=width or WIDEST) for problem in problems)
            _say("\n".join(told) + "\n", call)
        _say(f"{_mark(call)} {plain(error.message)}", call)
        if error.details:
            lines = plain(error.details).splitlines()
            _say("".join(f"    {line}\n" for line in lines).rstrip("\n"), call)
        if error.hint:
            _say(f"hint: {plain(error.hint)}", call)
    about = (error.message, error.hint, error.details)
    _json(call, error.exit_code, type(error).__name__, *about, problems)
    return error.exit_code


def _os_error(error: OSError, call: Call) -> ExitCode:
    """Say what a failed write means, so that a verb that prints need not ask whether stdout takes it."""
    # Only stdout's reader may leave; a pipe that broke elsewhere is a bug that has to be seen.
    if isinstance(error, BrokenPipeError):
        with suppress(OSError, ValueError):
            poll = select.poll()
            poll.register(sys.stdout.fileno(), 0)
            if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
                return ExitCode.BROKEN_PIPE
    # Verbs that print do not ask whether there is room; the file that is named is the user's.
    if error.errno in _FULL:
        name = error.filename or "standard output"
        return tell(OutputError(f"cannot write {name}: {error.strerror}", hint="make room"), call)
    return _bug(error, call)


def _no_name(error: UnicodeEncodeError, call: Call) -> ExitCode:
    """Say of a name that this system cannot have for a file that it is the locale's doing."""
    # A spec is UTF-8 and can name any file; Python calls files by the encoding of the locale.
    system = sys.getfilesystemencoding()
    if system == "utf-8" or codecs.lookup(error.encoding) != codecs.lookup(system):
        return _bug(error, call)
    message = f"no file can be called {error.object!a} here: the locale's encoding is {system}"
    return tell(UsageError(message, hint="PYTHONUTF8=1, or a locale such as LC_ALL=C.UTF-8"), call)


def _no_thread(error: RuntimeError, call: Call) -> ExitCode:
    """Say of a thread that the system did not start, or of what that led to, that a limit is too low."""
    cause: BaseException | None = error
    while cause is not None and "can't start new thread" not in str(cause):
        cause = cause.__context__
    if cause is None:
        return _bug(error, call)
    message = "arcli cannot start another thread: it may have no more memory, or no more threads"
    hint = "a higher ulimit -v or ulimit -u, a higher limit of the container, or fewer engines (-n)"
    return tell(ClusterError(message, hint=hint), call)


def _bug(error: Exception, call: Call) -> ExitCode:
    import traceback

    # In full, also for those who cannot read it: it is what a report of the bug needs.
    summary = "".join(traceback.format_exception_only(error)).strip()
    trace = plain("".join(traceback.format_exception(error))).rstrip()
    if not call.as_json:
        _say(trace, call)
        _say(f"{_mark(call)} a bug in arcli {__version__}: {plain(summary)}", call)
        _say("hint: please report it with the traceback above", call)
    _json(call, ExitCode.BUG, type(error).__name__, f"a bug in arcli: {summary}", details=trace)
    return ExitCode.BUG


def _say(text: str, call: Call) -> None:
    with suppress(OSError):  # nobody is there to be told that nobody can be told
        click.echo(text, err=True, color=call.color)


def _mark(call: Call) -> str:
    """Return what every message begins with."""
    return click.style("arcli:", fg="red", bold=True) if call.color else "arcli:"


def _json(
    call: Call,
    code: ExitCode,
    kind: str,
    message: str,
    hint: str | None = None,
    details: str | None = None,
    problems: Sequence[Problem] = (),
) -> None:
    """Tell programs of an error, where there is one that reads stderr or waits for a document."""
    if not call.as_json and (call.reported or call.format != "json"):
        return
    import json

    from msgspec import to_builtins

    error = {
        "type": kind,
        "message": message,
        "hint": hint,
        "details": details,
        "exit_code": int(code),
        "problems": [to_builtins(problem) for problem in problems],
    }
    line = json.dumps({"error": error})
    if call.as_json:
        _say(line, call)
    # A program that reads stdout as one document must get one, also of what went wrong; but never a
    # second one after a document that has told of it.
    if call.format == "json" and not call.reported:
        with suppress(OSError):  # the exit code tells what happened first
            click.echo(line)
        call.reported = True


def _code(result: Any) -> int:
    """Return what a verb returned, or what ``sys.exit`` was given."""
    if result is None or isinstance(result, int):
        return int(result or 0)
    _say(str(result), Call())
    return 1


def _flush_stdout() -> None:
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


INLINE = "arcli.session.transport.inline"
"""The module that is imported where items run in this process."""


def leave(code: Any) -> NoReturn:
    """End the process without taking down what was imported: that takes longer than it may.

    What users' code registered with ``atexit`` runs, and their threads are waited for. Where items
    ran in this process the interpreter ends as after a script, so that their files are written out;
    but not while a source blocks in a thread of its own, which would be a fatal error then
    (https://docs.python.org/3/c-api/init.html#c.Py_FinalizeEx).
    """
    # A source that blocks in a thread of its own would be met by an interpreter that is half gone.
    reading = any(thread.name == "arcli-input" for thread in threading.enumerate())
    if INLINE in sys.modules and not reading:
        raise SystemExit(code)
    # By hand what ending the interpreter would do for users' code, and none of what takes time.
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - what the interpreter does
    atexit._run_exitfuncs()  # noqa: SLF001 - likewise
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


@contextmanager
def leaving(code: int) -> Iterator[None]:
    """End the process soon, come what may: it was stopped, and nobody may be reading what it tells."""
    timer = threading.Timer(LAST_WORDS, os._exit, [code])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def silence_stdout() -> None:
    """Send what is still buffered for stdout nowhere, since nobody reads it and nothing may wait for it."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
