"""One item: called, timed, and written down as its record's own part of JSON."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from inspect import isasyncgen
from time import perf_counter_ns
from typing import Any, NamedTuple

from .capture import NOTHING, NoCapture
from .command import Command
from .encode import PLAIN, SAFE, ArrayFile, Unfit, array_file, encode, encode_apart, pickled
from .errors import describe, kept, safe_repr
from .functions import copied, settle
from .keys import Head, Heads, head, input_text, item_key, key_from
from .limits import TimeLimit, Timer
from .program import ItemFolder, MadeFolder, Program, ProgramFailed, Shown
from .stamps import SECOND, THREE, Clock, decimal
from .tally import Status


class KeyedHeads(NamedTuple):
    """How records begin of inputs whose keys came with them, by the positions of their items."""

    keys: Mapping[int, str]
    items: Sequence[Any]
    sizes: bool

    def at(self, position: int) -> Head | None:
        """Return how one of them begins, None of another input."""
        if position not in self.keys:
            return None
        item = self.items[position]
        try:
            text, _ = input_text(item, sizes=self.sizes)
        except BaseException:  # noqa: BLE001 - an input of the user's class
            text, _ = kept(item)
        return self.keys[position], text


class Opaque(NamedTuple):
    """A value as a pickle; ``saved``: the record names a file of it, which may be an array's."""

    raw: bytes
    saved: bool = False
    file: ArrayFile | None = None


class Outcome(NamedTuple):
    """How an item ended: what the chunk needs to know of it beside its ``line``.

    ``end`` is a reading of ``time.perf_counter_ns``. ``opaque`` is its pickle, where one is wanted.
    """

    line: str
    seconds: float
    end: int
    status: str = Status.OK
    reason: str = ""
    opaque: Opaque | None = None


class ShortItems(NamedTuple):
    """How items ended of which a call is all: values that are plain, and readings of ``perf_counter_ns``.

    One thread adds, to ``ends`` last, while another one may take out what is there.
    """

    values: list[Any]
    begins: list[int]
    ends: list[int]

    def take(self, most: int) -> ShortItems:
        """Return the first of them, up to ``most``, and keep the others."""
        count = min(most, len(self.ends))
        taken = ShortItems(*(column[:count] for column in self))
        for column in self:
            del column[:count]
        return taken


_NEEDED = (
    "later jobs and reducers get the value itself, by pickle: return what can be pickled, or JSON holds"
)
_new = tuple.__new__
_OK = Status.OK  # getting a member costs as much as a call


class Process:
    """Whether this process is a fork of the engine: an item's, which must not go on as one."""

    forked = False

    @classmethod
    def is_the_engine(cls) -> None:
        """Say so, in a process that may itself be a fork."""
        cls.forked = False

    @classmethod
    def is_a_fork(cls) -> None:
        """Called in every child of ``os.fork``."""
        cls.forked = True


os.register_at_fork(after_in_child=Process.is_a_fork)


class Runner:
    """Runs the items of one job, in one chunk.

    ``call`` is a function of one item; ``program`` is given instead where it is none.
    ``keep_opaque`` asks for a pickle of each value that JSON does not hold exactly: something folds
    them later. ``folder`` makes each item a folder of its own. ``passing`` are exceptions that are
    none of an item's. ``alone``: the chunk has one item, which shares nothing with another. ``attempt``
    is that of all items; ``marks`` gets the time at which each begins (see ``position_file``).
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
        sizes: bool = False,
        hint: Callable[[BaseException, Any], str | None] = lambda error, item: None,
        folder: ItemFolder | None = None,
        passing: tuple[type[BaseException], ...] = (),
        alone: bool = True,
        attempt: int,
        marks: MutableSequence[int],
    ) -> None:
        self._attempt = attempt
        self._marks = marks
        self._passing = passing
        self._job = job
        self._call = call
        self._hint = hint
        self._program = program
        self._capture = capture
        self._timer = timer
        self._salt = salt
        self._keep_opaque = keep_opaque
        self._sizes = sizes
        self._clock = Clock()
        self.offset = self._clock.offset
        self._folder = folder
        self._copies = call is not None and not alone
        self.plain = call if timer.seconds is None and folder is None else None

    def run(
        self,
        index: int,
        item: Any,
        occurrence: int,
        begun: Head | None = None,
    ) -> Outcome:
        """Run one item. Whatever it raises ends up in its record, never here.

        ``begun`` is how its record begins, where that is written already.
        """
        # This runs for every item: locals for what is used twice, no call that is not needed, and the clock
        # read as close to the user's function as can be.
        plain = self.plain
        if begun is None and type(item) not in PLAIN:
            self._marks[2] = perf_counter_ns() + self.offset
            begun, item = self._own(item, occurrence)
        begin = perf_counter_ns()
        self._marks[2] = begin + self.offset
        try:
            value = plain(item) if plain is not None else self._invoke(item, index)
        except self._passing:
            raise
        except BaseException as raised:  # noqa: BLE001 - sys.exit, time limits, anything at all
            return self.failed(index, item, occurrence, begin, raised, begun)
        return self.ended(index, item, occurrence, begin, value, begun)

    async def run_beside(
        self,
        index: int,
        item: Any,
        occurrence: int,
        begun: Head | None = None,
    ) -> Outcome:
        """Run one item as ``run`` does, while others run in the same loop, in a task that is its own.

        Its time limit cancels it; one that heeds no cancellation is a timeout when it ends.
        """
        self._capture.begin(index, self._attempt)
        if begun is None and type(item) not in PLAIN:
            begun, item = self._own(item, occurrence)
        begin = perf_counter_ns()
        self._marks[2] = begin + self.offset
        try:
            with self._timer.beside() as limit:
                async with limit:
                    value = await self._beside(item, index)
        except self._passing:
            raise
        except BaseException as raised:  # noqa: BLE001 - as in ``run``
            error = TimeLimit() if limit.expired() else raised
            return self.failed(index, item, occurrence, begin, error, begun)
        if limit.expired():
            return self.failed(index, item, occurrence, begin, TimeLimit(), begun)
        return self.ended(index, item, occurrence, begin, value, begun)

    def _own(self, item: Any, occurrence: int) -> tuple[Head, Any]:
        """Return how an item's record begins, and the item for its call, before that can change it.

        Items of a chunk share what they shared where they came from, such as an element of a product.
        """
        begun = self._head(item, occurrence)
        return begun, copied(item) if self._copies else item

    def ended(
        self,
        index: int,
        item: Any,
        occurrence: int,
        begin: int,
        value: Any,
        begun: Head | None,
        end: int = 0,
        printed: tuple[str, str, bool] | None = None,
    ) -> Outcome:
        """Return the outcome of an item that has a value, unless that cannot be written down.

        ``end`` and what it has ``printed`` are given together, by who has looked already.
        """
        if printed is None:
            # A fork of the item's that came back here would run the rest of the chunk a second time.
            end = perf_counter_ns()
            if Process.forked:
                os._exit(0)
            if self._timer.fired:
                return self.failed(index, item, occurrence, begin, None, begun)
            printed = self._printed()
        opaque = None
        # Scalars are encoded on the spot; containers and the user's classes may raise on the way, and text
        # may have what JSON lacks (a file name that is not UTF-8).
        kind = type(value)
        if kind is float or (kind is str and value.isascii()) or value is None or kind is bool:
            text, exact = encode(value)
        elif kind is int and -SAFE < value < SAFE:
            text, exact = str(value), True
        else:
            try:
                text, exact, opaque = self._encoded(value, index)
            except self._passing:
                raise
            except BaseException as error:  # noqa: BLE001 - __reduce__ and the like of the user's
                return self.failed(index, item, occurrence, begin, error, begun, printed)
        line = (
            f"{head(index, *(begun or self._head(item, occurrence)))}"
            f',"status":"ok","reason":null,"value":{text},"exact":{"true" if exact else "false"}'
            f',"error":null{self._tail(printed, begin, end)}'
        )
        # What Outcome(…) does, for half of its cost.
        return _new(Outcome, (line, (end - begin) / 1e9, end, _OK, "", opaque))

    def written(self, heads: Heads, indices: Sequence[int], short: ShortItems) -> bytes:
        """Return the lines of items whose records are begun and that have printed nothing.

        Each is as ``ended`` writes it; many together cost a third of what single ones do.
        """
        base, millis = self._clock.base, self._clock.millis
        values, begins, ends = short
        texts = values if set(map(type, values)) == {int} else [encode(value)[0] for value in values]
        middle = f',"exact":true,"error":null{SAID_NOTHING},"attempt":{self._attempt},"started":"'
        lines: list[str] = []
        # All that differs is put into a single text, times as ``stamps`` writes them.
        for index, key, item, text, begin, end in zip(indices, *heads, texts, begins, ends, strict=True):
            took = end - begin
            start, stop = (begin - base) // 1000, (end - base) // 1000
            lines.append(
                f'"index":{index},"key":"{key}","input":{item},"status":"ok","reason":null,"value":{text}{middle}'
                f'{millis[start // 1000]}{THREE[start % 1000]}Z","completed":"'
                f'{millis[stop // 1000]}{THREE[stop % 1000]}Z","seconds":'
                f"{'0.%09d' % took if took < SECOND else decimal(took)}\n"  # noqa: UP031 - as in decimal
            )
        return "".join(lines).encode()

    def refuse(self, index: int, shown: Shown, error: ProgramFailed, occurrence: int) -> Outcome:
        """Return the outcome of an item that cannot be run, because of its input."""
        return self.failed(index, shown, occurrence, perf_counter_ns(), error, None, NOTHING)

    def failed(
        self,
        index: int,
        item: Any,
        occurrence: int,
        begin: int,
        error: BaseException | None,
        begun: Head | None,
        printed: tuple[str, str, bool] | None = None,
    ) -> Outcome:
        """Return the outcome of an item that raised, or that took too long (then there is no error)."""
        end = perf_counter_ns()
        if Process.forked:
            os._exit(0)
        # What was printed before it failed belongs to its record as well.
        if printed is None:
            printed = self._printed()
        status, value, details = Status.ERROR, "null", "null"
        exact = True
        if error is None or isinstance(error, TimeLimit) or self._timer.fired:
            self._timer.fired = False
            status, reason = Status.TIMEOUT, f"took longer than {self._timer.seconds:g} s"
        else:
            # A hint is a note of the exception, so that tracebacks show it, too; a retried exception has it
            # already.
            hint = self._hint(error, item)
            with suppress(Exception):  # a class of the user's may take no notes
                if hint is not None and f"hint: {hint}" not in getattr(error, "__notes__", ()):
                    error.add_note(f"hint: {hint}")
            details, reason = describe(error)
            if isinstance(error, ProgramFailed):
                value, exact = kept(error.value)
        return Outcome(
            f"{head(index, *(begun or self._head(item, occurrence)))}"
            f',"status":"{status}","reason":{encode(reason)[0] if reason else "null"}'
            f',"value":{value},"exact":{"true" if exact else "false"}'
            f',"error":{details}{self._tail(printed, begin, end)}',
            (end - begin) / 1e9,
            end,
            status,
            reason,
        )

    def _invoke(self, item: Any, index: int) -> Any:
        if self._timer.seconds is None:
            return self._called(item, index)
        with self._timer.limit():
            return self._called(item, index)

    def _called(self, item: Any, index: int) -> Any:
        if self._folder is None and self._call is not None:
            return self._call(item)
        with self._made_folder(item, index) as folder:
            if self._call is not None:
                folder.value = self._call(item)
            else:
                assert self._program is not None
                folder.value = self._program.run(item, index, self._attempt, folder.path)
        return folder.value

    async def _beside(self, item: Any, index: int) -> Any:
        with self._made_folder(item, index) as folder:
            if self._call is not None:
                value = self._call(item)
                folder.value = await settle(value if isasyncgen(value) else await value)
            else:
                assert isinstance(self._program, Command)
                folder.value = await self._program.run_beside(item, index, self._attempt, folder.path)
        return folder.value

    def _made_folder(self, item: Any, index: int) -> AbstractContextManager[MadeFolder]:
        """Have the item's folder, if its job has any, around what makes its value."""
        if self._folder is None:
            return nullcontext(MadeFolder(None))
        return self._folder.around(item, index, self._attempt)

    def _encoded(self, value: Any, index: int) -> tuple[str, bool, Opaque | None]:
        """Return the value as JSON, whether that is exact, and its pickle, if one is wanted.

        Raises what the user's classes raise on the way.
        """
        # Three ways to rest: as JSON alone, as JSON beside a pickle that a reducer needs, or as a file that
        # the record names.
        path = f"values/{self._job}/{index}.pkl"
        try:
            text, exact, large = encode_apart(value, path)
        except Unfit:
            text, exact, large = "", False, False
        if exact or (text and not large and not self._keep_opaque):
            return text, exact, None
        try:
            raw = pickled(value)
        except Exception as error:
            with suppress(Exception):  # a class of the user's may take no notes
                if text and not large:
                    error.add_note(f"hint: {_NEEDED}")
            raise
        if not text:
            text = f'{{"$pickle":{encode(path)[0]},"repr":{encode(safe_repr(value))[0]}}}'
            return text, False, Opaque(raw, saved=True)
        file = array_file(value, raw) if large else None
        if file is not None:
            text = text.replace(encode(path)[0], encode(path.removesuffix("pkl") + "npy")[0])
        return text, False, Opaque(raw, large, file)

    def _head(self, item: Any, occurrence: int) -> Head:
        """Tell how an item's part of its record begins: which item it is."""
        # An input was decoded here, so encoding it again costs nothing but time; the record shows large
        # ones by their shape.
        try:
            text, content = input_text(item, sizes=self._sizes)
            key = key_from(self._salt, content, occurrence)
        except BaseException:  # noqa: BLE001 - an input of the user's class
            text, _ = kept(item)
            key = item_key(self._salt, item, occurrence)
        return key, text

    def _printed(self) -> tuple[str, str, bool]:
        """Return what the item has printed, once: one for which nothing runs has none of the last one's."""
        if self._program is None:
            return self._capture.take()
        printed, self._program.printed = self._program.printed, NOTHING
        return printed

    def _tail(self, printed: tuple[str, str, bool], begin: int, end: int) -> str:
        """Tell how it ends: what was printed, and when."""
        printed_json = SAID_NOTHING if printed is NOTHING else _said(printed)
        started, completed = self._clock.stamps((begin, end))
        text = (
            f'{printed_json},"attempt":{self._attempt},"started":"{started}","completed":"{completed}"'
            f',"seconds":{decimal(end - begin)}'
        )
        if self._program is not None and self._program.usage:
            text = f'{text},"usage":{encode_apart(self._program.usage, None)[0]}'
            self._program.usage = None
        kept = self._folder.taken() if self._folder is not None else None
        return f"{text},{encode(kept)[0][1:-1]}" if kept else text


def _said(printed: tuple[str, str, bool]) -> str:
    out, err, cut = printed
    return f',"stdout":{encode(out)[0]},"stderr":{encode(err)[0]},"truncated":{"true" if cut else "false"}'


SAID_NOTHING = _said(NOTHING)
