"""Where whatever went wrong becomes a message and an exit code, once.

Messages go to stderr. With ``--format json`` or ``jsonl`` a fatal error is also one JSON object on
stdout: ``{"error": {"type", "message", "hint", "details", "exit_code", "problems"}}``.
"""

from __future__ import annotations

import atexit
import errno
import os
import select
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn

import click

from arcli import __version__
from arcli.cli.problems import render
from arcli.errors import ArcliError, ExitCode, OutputError, Problem, ReaderGone, SpecError
from arcli.escape import plain

LAST_WORDS = 3.0
"""Seconds that messages have once the run was stopped."""
_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(kw_only=True, slots=True)
class Call:
    """One command line; verbs have it as ``ctx.obj``.

    ``format`` is what ``--format`` asks for, None where it is not given. A verb sets ``told`` when
    its own document on stdout tells of the error.
    """

    format: str | None = None
    told: bool = False


def wanted_format(words: Sequence[str]) -> str | None:
    """The last ``--format`` on a command line, which may well be wrong in other places."""
    found = None
    for place, word in enumerate(words):
        if word.startswith("--format="):
            found = word.partition("=")[2]
        elif word == "--format" and place + 1 < len(words):
            found = words[place + 1]
    return found


def guard(action: Callable[[], Any], call: Call) -> int:
    """Do it, tell of what went wrong, and return the exit code. Raises nothing."""
    try:
        code = _code(action())
        _flush_stdout()
    except SystemExit as error:
        code = ExitCode.BROKEN_PIPE if _is_pipe(error.__context__) else _code(error.code)
    except click.ClickException as error:
        code = _usage(error, call)
    except (click.Abort, KeyboardInterrupt):
        code = ExitCode.INTERRUPTED
    except ArcliError as error:
        code = tell(error, call)
    except OSError as error:
        code = _os_error(error, call)
    except Exception as error:  # noqa: BLE001 - what nobody foresaw ends here, with its traceback
        code = _bug(error, call)
    if not _flushed():
        code = code or ExitCode.BROKEN_PIPE
    return int(code)


def tell(error: ArcliError, call: Call) -> ExitCode:
    """Tell people, and the reader of JSON on stdout, of an error. Returns its exit code."""
    if isinstance(error, ReaderGone):
        return error.exit_code
    problems = error.problems if isinstance(error, SpecError) else []
    if problems:
        _say("\n".join(render(problem) for problem in problems) + "\n")
    _say(f"arcli: {plain(error.message)}")
    if error.details:
        _say("".join(f"    {line}\n" for line in plain(error.details).splitlines()).rstrip("\n"))
    if error.hint:
        _say(f"hint: {plain(error.hint)}")
    _json(
        type(error).__name__,
        error.message,
        error.hint,
        error.exit_code,
        problems,
        call,
        details=error.details,
    )
    return error.exit_code


def _usage(error: click.ClickException, call: Call) -> ExitCode:
    error.show()
    message = error.format_message()
    _json("UsageError", message, None, ExitCode.USAGE, [], call)
    return ExitCode.USAGE


def _os_error(error: OSError, call: Call) -> ExitCode:
    """A verb that prints need not ask whether stdout takes it: the boundary knows what these mean."""
    if isinstance(error, BrokenPipeError) and _reader_is_gone():
        return ExitCode.BROKEN_PIPE
    if error.errno in _FULL:
        name = error.filename or "standard output"
        return tell(OutputError(f"cannot write {name}: {error.strerror}", hint="make room"), call)
    return _bug(error, call)


def _bug(error: Exception, call: Call) -> ExitCode:
    import traceback

    words = "".join(traceback.format_exception_only(error)).strip()
    _say(plain("".join(traceback.format_exception(error))).rstrip())
    _say(f"arcli: a bug in arcli {__version__}: {plain(words)}")
    _say("hint: please report it with the traceback above")
    _json(type(error).__name__, f"a bug in arcli: {words}", None, ExitCode.BUG, [], call)
    return ExitCode.BUG


def _say(text: str) -> None:
    with suppress(OSError):  # nobody is there to be told that nobody can be told
        click.echo(text, err=True)


def _json(
    kind: str,
    message: str,
    hint: str | None,
    code: ExitCode,
    problems: Sequence[Problem],
    call: Call,
    details: str | None = None,
) -> None:
    if call.told or call.format not in {"json", "jsonl"}:
        return
    import json
    from dataclasses import asdict

    error = {
        "type": kind,
        "message": message,
        "hint": hint,
        "details": details,
        "exit_code": int(code),
        "problems": [asdict(problem) for problem in problems],
    }
    with suppress(OSError):  # the exit code tells what happened first
        click.echo(json.dumps({"error": error}))
    call.told = True


def _code(result: Any) -> int:
    """What a verb returned, or what ``sys.exit`` was given."""
    if result is None or isinstance(result, int):
        return int(result or 0)
    _say(str(result))
    return 1


def _is_pipe(error: BaseException | None) -> bool:
    """Click turns a broken pipe into ``sys.exit(1)``."""
    return isinstance(error, BrokenPipeError)


def _reader_is_gone() -> bool:
    """Whether the broken pipe is stdout, and not one that nobody should have broken."""
    with suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    return False


def _flush_stdout() -> None:
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def _flushed() -> bool:
    """Whether stdout has everything; if not, it never will, and the interpreter must not try."""
    try:
        _flush_stdout()
    except OSError:
        silence_stdout()
        return False
    return True


INLINE = "arcli.session.transport.inline"
"""The module that is imported where items run in this process."""


def leave(code: Any) -> NoReturn:
    """End the process without taking down what was imported: that takes longer than it may.

    What users' code registered with ``atexit`` runs, and their threads are waited for. Where items
    ran in this process the interpreter ends as after a script, so that their files are written out;
    but not while a source blocks in a thread of its own, which would be a fatal error then
    (https://docs.python.org/3/c-api/init.html#c.Py_FinalizeEx).
    """
    reading = any(thread.name == "arcli-input" for thread in threading.enumerate())
    if INLINE in sys.modules and not reading:
        raise SystemExit(code)
    threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - what the interpreter does
    atexit._run_exitfuncs()  # noqa: SLF001 - likewise
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


@contextmanager
def leaving(code: int) -> Iterator[None]:
    """The run was stopped: what is told now may not be read, and must not keep the process."""
    timer = threading.Timer(LAST_WORDS, os._exit, [code])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def silence_stdout() -> None:
    """Nobody reads stdout: what is still buffered goes nowhere, and nothing waits for it."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
