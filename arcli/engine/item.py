"""One item: called, timed, and written down as its record's own part of JSON."""

from __future__ import annotations

import importlib
import os
import pickle
import time
import traceback
from collections.abc import Callable
from typing import Any

from .capture import NoCapture
from .encode import Unfit, encode
from .keys import item_key, key_from
from .limits import TimeLimit, Timer
from .program import Program, ProgramFailed

REPR = 200
TRACEBACK = 1 << 16


class Outcome:
    """How an item ended: what the chunk needs to know of it beside its line."""

    __slots__ = ("line", "opaque", "reason", "saved", "seconds", "status")

    def __init__(self) -> None:
        self.line = ""
        self.status = "ok"
        self.reason = ""
        self.seconds = 0.0
        self.opaque: bytes | None = None
        self.saved = False


class Runner:
    """Runs the items of one job, in one chunk.

    ``call`` is a function of one item; ``program`` is given instead where it is none.
    ``keep_opaque`` asks for a pickle of each value that JSON does not hold exactly: something folds
    them later.
    """

    def __init__(
        self,
        *,
        job: str,
        call: Callable[[Any], Any] | None,
        program: Program | None,
        capture: NoCapture,
        timer: Timer,
        salt: Any,
        keep_opaque: bool,
    ) -> None:
        self._job = job
        self._call = call
        self._program = program
        self._capture = capture
        self._timer = timer
        self._salt = salt
        self._keep_opaque = keep_opaque
        self._clock = _Clock()
        self._home = os.getpid()

    def run(self, index: int, item: Any, attempt: int, occurrence: int) -> Outcome:
        """Run one item. Whatever it raises ends up in its record, never here."""
        outcome = Outcome()
        value: Any = None
        error: BaseException | None = None
        begin = time.perf_counter()
        try:
            if self._timer.seconds is None:
                value = self._invoke(item, index)
            else:
                with self._timer.limit():
                    value = self._invoke(item, index)
        except BaseException as raised:  # noqa: BLE001 - sys.exit, time limits, anything at all
            error = raised
        end = time.perf_counter()
        if os.getpid() != self._home:
            os._exit(0)  # the item forked, and this is its child: it must not go on as an engine
        outcome.seconds = end - begin
        printed = self._capture.take() if self._program is None else self._program.printed
        if isinstance(error, TimeLimit) or self._timer.fired:
            self._timer.fired = False
            outcome.status = "timeout"
            outcome.reason = f"took longer than {self._timer.seconds:g} s"
            text, exact = "null", True
        elif error is None:
            text, exact, error = self._encoded(value, index, outcome)
        else:
            text, exact = "null", True
            if isinstance(error, ProgramFailed):
                text = encode(error.value)[0]
        details = "null" if error is None or outcome.status == "timeout" else None
        if details is None:
            assert error is not None
            outcome.status = "error"
            details, outcome.reason = describe(error)
        outcome.line = self._line(
            outcome, index, item, attempt, occurrence, text, exact, details, printed, begin, end
        )
        return outcome

    def _invoke(self, item: Any, index: int) -> Any:
        if self._call is not None:
            return self._call(item)
        assert self._program is not None
        return self._program.run(item, index)

    def _encoded(
        self, value: Any, index: int, outcome: Outcome
    ) -> tuple[str, bool, BaseException | None]:
        """The value as JSON; what does not fit goes beside it, as a pickle."""
        try:
            text, exact = encode(value)
        except Unfit:
            text, exact = "", False
        except Exception as error:  # noqa: BLE001 - a mapping or array of the user's that misbehaves
            return "null", True, error
        if exact or (text and not self._keep_opaque):
            return text, exact, None
        try:
            outcome.opaque = pickle.dumps(value)
        except Exception as error:  # noqa: BLE001 - __reduce__ may raise anything
            return ("null", True, error) if not text else (text, False, None)
        if text:
            return text, False, None
        outcome.saved = True
        path = encode(f"values/{self._job}/{index}.pkl")[0]
        return f'{{"$pickle":{path},"repr":{encode(safe_repr(value))[0]}}}', False, None

    def _line(
        self,
        outcome: Outcome,
        index: int,
        item: Any,
        attempt: int,
        occurrence: int,
        value: str,
        exact: bool,
        error: str,
        printed: tuple[str, str, bool],
        begin: float,
        end: float,
    ) -> str:
        """The item's own part of its record: an object without its braces."""
        try:
            input_text, exact_input = encode(item)
        except Exception:  # noqa: BLE001 - an input of the user's class
            input_text = '{"$pickle":null,"repr":' + encode(safe_repr(item))[0] + "}"
            exact_input = False
        if exact_input and type(item) in _SCALARS:
            key = key_from(self._salt, input_text.encode(), occurrence)
        else:
            key = item_key(self._salt, item, occurrence)
        out, err, cut = printed
        usage = self._program.usage if self._program is not None else None
        return (
            f'"index":{index},"key":"{key}",'
            f'"input":{input_text},"status":"{outcome.status}",'
            f'"reason":{encode(outcome.reason)[0] if outcome.reason else "null"},'
            f'"value":{value},"exact":{"true" if exact else "false"},"error":{error},'
            f'"stdout":{encode(out)[0] if out else _EMPTY},'
            f'"stderr":{encode(err)[0] if err else _EMPTY},'
            f'"truncated":{"true" if cut else "false"},"attempt":{attempt},'
            f'"started":"{self._clock.iso(begin)}","completed":"{self._clock.iso(end)}",'
            f'"seconds":{outcome.seconds!r}' + (f',"usage":{encode(usage)[0]}' if usage else "")
        )


_EMPTY = '""'
_SCALARS = frozenset({int, float, str, bool, type(None)})
"""Their canonical text is their text."""


class _Clock:
    """Wall-clock stamps from the monotonic clock, so that they never run backwards in a chunk."""

    def __init__(self) -> None:
        self._offset = time.time() - time.perf_counter()
        self._second = -1
        self._prefix = ""

    def iso(self, moment: float) -> str:
        """A reading of ``time.perf_counter`` as ISO 8601 UTC with microseconds."""
        moment += self._offset
        second = int(moment)
        if second != self._second:
            self._second = second
            self._prefix = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        return "%s%06dZ" % (self._prefix, (moment - second) * 1e6)  # noqa: UP031 - twice as fast


def describe(error: BaseException) -> tuple[str, str]:
    """An exception as the record's ``error`` (JSON), and as one short line of words."""
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else _qualified(kind)
    try:
        message = str(error)
    except BaseException as broken:  # noqa: BLE001 - the user's __str__ may raise anything
        message = f"<its text cannot be had: {type(broken).__name__}>"
    if isinstance(error, ProgramFailed):
        name, trace = kind.__name__, ""
    else:
        trace = user_traceback(error)
    details = {"type": name, "message": message[:TRACEBACK], "traceback": trace}
    reason = message if isinstance(error, ProgramFailed) else f"{name}: {message}"
    reason = reason.strip(": ").partition("\n")[0][:REPR]
    return encode(_clean(details))[0], _clean(reason)


def _qualified(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def user_traceback(error: BaseException) -> str:
    """The traceback as text, without the frames of arcli's that called the user's code."""
    trace = error.__traceback__
    while trace is not None and _ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    try:
        lines = traceback.format_exception(type(error), error, trace, limit=50)
    except BaseException:  # noqa: BLE001 - as above: __str__, __repr__, __notes__ of the user's
        lines = traceback.format_tb(trace, limit=50)
    text = "".join(lines)
    return text if len(text) <= TRACEBACK else text[: TRACEBACK // 2] + "\n…\n" + text[-1000:]


def _ours(filename: str) -> bool:
    return filename.startswith(("<arcli/", "<frozen importlib", _FOLDER, _IMPORTLIB))


_IMPORTLIB = importlib.__file__
_FOLDER = os.path.dirname(os.path.abspath(__file__)) if "__file__" in globals() else "<arcli/"  # noqa: PTH100, PTH120 - sent as source, it has no file


def _clean(value: Any) -> Any:
    """Text that JSON can hold, whatever surrogates a message has."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return {key: _clean(part) for key, part in value.items()}


def safe_repr(value: Any) -> str:
    """``repr``, short, and never raising."""
    try:
        text = repr(value)
    except BaseException as error:  # noqa: BLE001 - the user's __repr__ may raise anything
        text = f"<{type(value).__name__} whose repr raises {type(error).__name__}>"
    text = text if len(text) <= REPR else text[: REPR - 1] + "…"
    cleaned: str = _clean(text)
    return cleaned
