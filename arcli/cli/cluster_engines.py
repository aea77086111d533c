"""``arcli cluster exec|signal|restart|scale``: what is done to the engines of a cluster that runs."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import click
from msgspec import to_builtins

from arcli.cli import complete
from arcli.cli.options import DURATION, NUMBERS, format_option
from arcli.escape import plain

if TYPE_CHECKING:
    from arcli.cluster.named import Known

_NAME = click.argument("name", shell_complete=complete.clusters)
_FORMAT = format_option("text", "json", meaning="json: one document.")
_FORCE = click.option("--force", is_flag=True, help="Also where engines have work, which is lost.")
_TIMEOUT = click.option(
    "--timeout", type=DURATION, default=60.0, metavar="DURATION", help="How long to wait for engines: 60s."
)


@click.command("exec")
@_NAME
@click.argument("code", required=False)
@click.option("-f", "--file", metavar="FILE", help="Code from a file; - is standard input.")
@click.option("--targets", type=NUMBERS, metavar="0,4-7", help="Only these engines.")
@click.option(
    "--timeout", type=DURATION, metavar="DURATION", help="How long to wait, else to the end: 60s."
)
@_FORMAT
def execute(
    form: str,
    name: str,
    code: str | None,
    file: str | None,
    targets: tuple[int, ...] | None,
    timeout: float | None,
) -> int:
    """Run Python code on the engines of a cluster, among their own names.

    Shows what each engine prints, and the value of a last expression. Exits 1 where one of them raised.

    \b
    Examples:
      arcli cluster exec big 'import numpy; numpy.__version__'
      arcli cluster exec big -f warm_up.py --targets 0-3
    """
    from arcli.cluster import named, steered
    from arcli.errors import ExitCode, UsageError

    if (code is None) == (file is None):
        raise UsageError("give code, or a file that has it with -f")
    text = str(code) if file is None else _read(file)
    answers = steered.execute(named.find(name), text, targets, timeout)
    if form == "json":
        click.echo(json.dumps({"engines": [to_builtins(answer) for answer in answers]}))
    for answer in answers if form == "text" else ():
        _show(answer.engine, answer.stdout, answer.value)
        _show(answer.engine, answer.stderr, answer.error, err=True)
    failed = any(answer.error is not None for answer in answers)
    return ExitCode.ITEMS_FAILED if failed else ExitCode.OK


@click.command("signal")
@_NAME
@click.argument("number", metavar="SIGNAL")
def send_signal(name: str, number: str) -> None:
    """Send a signal to the engines of a cluster: INT ends what they run, and they go on.

    \b
    Examples:
      arcli cluster signal big INT
    """
    from arcli.cluster import named, steered
    from arcli.timing.words import plural

    one, chosen = named.find(name), _signal(number)
    count = steered.send_signal(one, chosen)
    click.echo(f"{one.name}: {chosen.name} sent to {plural(count, 'engine')}")


@click.command("restart")
@_NAME
@_FORCE
@_TIMEOUT
def restart(name: str, timeout: float, *, force: bool) -> int:
    """Start the engines of a cluster anew; its controller stays. Exits 3 where not all come up.

    \b
    Examples:
      arcli cluster restart big
    """
    from arcli.cluster import named, steered

    one = named.find(name)
    return _tell(one, *steered.restart(one, timeout, force=force))


@click.command("scale")
@_NAME
@click.argument("engines", type=click.IntRange(min=0))
@_FORCE
@_TIMEOUT
def scale(name: str, engines: int, timeout: float, *, force: bool) -> int:
    """Have a cluster have so many engines: more, or fewer, idle ones first. Exits 3 where it has not.

    \b
    Examples:
      arcli cluster scale big 16
    """
    from arcli.cluster import named, steered

    one = named.find(name)
    return _tell(one, steered.scale(one, engines, timeout, force=force), engines)


def _read(file: str) -> str:
    """Return the text of a file, or of standard input. Raises UsageError."""
    from arcli.errors import UsageError

    try:
        with click.open_file(file, encoding="utf-8") as opened:
            return str(opened.read())
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{file} is no UTF-8") from None


def _show(engine: int, *texts: str | None, err: bool = False) -> None:
    """Print texts of an engine's: each line has its number, as those of items have theirs."""
    for text in texts:
        for line in (text or "").splitlines():
            click.echo(f"{engine}: {plain(line)}", err=err)


def _tell(one: Known, count: int, target: int) -> int:
    """Say how many engines there are now; returns the exit code."""
    from arcli.errors import ExitCode
    from arcli.timing.words import plural

    click.echo(f"{one.name}: {plural(count, 'engine')}")
    if count == target:
        return ExitCode.OK
    click.echo(f"{one.name} was to have {target:,}; {one.command('status')} shows how it stands", err=True)
    return ExitCode.NO_CLUSTER


def _signal(text: str) -> signal.Signals:
    """Return the signal that ``INT``, ``SIGINT`` or ``2`` names. Raises UsageError."""
    from arcli.errors import UsageError

    try:
        return signal.Signals(int(text)) if text.isdecimal() else signal.Signals[_full(text)]
    except (KeyError, ValueError):
        raise UsageError(f"there is no signal {text!r}", hint="such as INT, TERM, USR1 or KILL") from None


def _full(name: str) -> str:
    return name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
