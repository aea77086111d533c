"""Every request from the client to an engine's worker, and every reply: the wire between the two.

A request travels as a pickle of its name and its fields, so that an engine which knows this module
by another name (see ``arcli.session.transport.bundle``) can read it. A reply travels as one line of
JSON and the binary parts that it announces: the client never unpickles what an engine sent.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from operator import index
from typing import Any, NamedTuple, get_args

from .encode import ArrayFile
from .tally import Tally
from .template import Template

ValueParts = list[tuple[Any, str | None, bytes | None]]
"""Values in parts: a key, and JSON text where that is the value exactly, else its pickle."""


# -- requests ---------------------------------------------------------------------------------


class Hello(NamedTuple):
    """Get to know an engine: its slot, and the path of its position file. Answered by HelloReply.

    ``engines`` is how many there are in all.
    """

    slot: int
    position_file: str | None
    engines: int = 1


class Setup(NamedTuple):
    """Do the spec's ``setup``: ``files`` by name with content and mode. Answered by Done."""

    path: list[str]
    imports: list[str]
    push: dict[str, Any]
    run: str | None
    files: dict[str, tuple[bytes, int]]


class Preflight(NamedTuple):
    """Look for what jobs run later. Answered by Done.

    ``functions`` are ``(job, function, beside)``, the last of which says that calls of it run side by side,
    ``notebooks`` are ``(job, path)``.
    """

    functions: list[tuple[str, str, bool]]
    notebooks: list[tuple[str, str]]
    folder: str


class JobDefinition(NamedTuple):
    """All that the items of a job share; ``kind`` is ``map``, ``apply``, ``command`` or ``notebook``.

    ``salt`` is the JSON text that every item's key begins with. A command is a ``shell`` string
    for an ``interpreter``, or else ``argv``. An item is a list of up to ``batch`` inputs, if that is not 0;
    ``block`` is the key under which a command's item has what it reads on its standard input, empty: the
    item is that, None: there is nothing to read.
    ``run_folder`` is where the run keeps its files, ``timeout`` is in seconds,
    ``limits.UNKNOWN`` where items that run already are told of it.
    ``whole_output``: what an item prints and its record does not hold is kept in a file there.
    ``outdir`` names each item's folder (empty: none), ``artifacts`` has patterns of files in it, whether
    one is required, and the pattern's steps: regular expressions of names, each folder's and the file's;
    an empty one is any folders. ``concurrency`` is how many items an engine runs side by side; one less
    in slots from ``wider`` on, where that is not 0. Outcomes that are ``announced``, ``ok`` or ``failed``,
    are published as soon as they are there, for they may end the job. ``keep_opaque`` asks for a pickle of
    each value that JSON does not hold exactly. ``reducers`` are functions to look for now, and run later.
    ``sizes``: of bytes in its inputs, which are blocks of a stream, records say how many they are.
    """

    name: str
    kind: str
    folder: str = "."
    function: str = ""
    args: list[Any] = []  # noqa: RUF012 - nobody writes to it
    kwargs: dict[str, Any] = {}  # noqa: RUF012 - nobody writes to it
    unpack: str = "none"
    shell: Template | None = None
    argv: Sequence[Template] = ()
    interpreter: str = "/bin/sh"
    batch: int = 0
    block: str | None = None
    command_stdin: Template | None = None
    cwd: Template | None = None
    env: dict[str, Template] = {}  # noqa: RUF012 - nobody writes to it
    ok_exit: Sequence[int] = (0,)
    parse: str | None = None
    notebook: str | None = None
    run_folder: str = ""
    whole_output: bool = False
    outdir: Template = ()
    artifacts: Sequence[tuple[str, bool, Sequence[str]]] = ()
    timeout: float | None = None
    retries: int = 0
    capture: str = "fd"
    keep_opaque: bool = False
    reducers: Sequence[str] = ()
    salt: str = ""
    concurrency: int = 1
    wider: int = 0
    announced: Sequence[str] = ()
    sizes: bool = False


class Define(NamedTuple):
    """Learn a job: resolve its function once, check its reducers. Answered by Done."""

    job: JobDefinition


class RunChunk(NamedTuple):
    """Run the items of a chunk. Answered by ChunkReply or ChunkReplies.

    ``inputs`` is a pickled list; ``opaque`` has pickles of single inputs by their position.
    ``occurrences`` counts equal inputs before each, None where all are different. ``unsent`` has
    inputs that could not be pickled by their position: how they look, and why. ``tail`` says which
    streams are listened to (``out``, ``err``, ``both`` or none; see Printed). A Failure says that
    the inputs do not load together; each of them has to be sent alone. ``timeout`` (seconds) takes
    the place of the job's. ``overlap``: answer as soon as all items are begun and a place is free, for
    another chunk follows. ``flat``: the inputs are known to be what ``are_flat`` tells of. ``exact``: the
    durations of its items are wanted one by one. ``keys`` are of items that the client knows by pickles.
    """

    job: str
    chunk: int
    attempt: int
    indices: Sequence[int]
    inputs: bytes
    occurrences: Sequence[int] | None
    opaque: dict[int, bytes]
    unsent: dict[int, tuple[str, str]] = {}  # noqa: RUF012 - nobody writes to it
    tail: str = ""
    timeout: float | None = None
    overlap: bool = False
    flat: bool = False
    exact: bool = True
    keys: dict[int, str] = {}  # noqa: RUF012 - nobody writes to it


class Fold(NamedTuple):
    """Fold values, in their order, into ``accumulated`` (a pickle; None: there is none yet).

    The values' keys are their items' indices; ``stage`` names it in a Failure. Answered by FoldReply.
    """

    function: str
    folder: str
    accumulated: bytes | None
    values: ValueParts
    stage: str = "reduce"


class Finish(NamedTuple):
    """Have the value of a job: ``finish(accumulated, items)``. Answered by ValueReply.

    ``items`` is None where what was accumulated is the list of values: ``finish(values)``.
    """

    function: str | None
    folder: str
    accumulated: bytes
    items: int | None


class Initial(NamedTuple):
    """Pickle a value that is given as JSON ``text``, to start a fold. Answered by InitialReply."""

    text: str
    combine: str | None
    folder: str


class Assign(NamedTuple):
    """Bind a job's value to ``name``; ``form`` as in ``functions.assembled``. Answered by Done."""

    name: str
    form: str
    parts: ValueParts


class Look(NamedTuple):
    """Evaluate a name or an expression in the user's namespace. Answered by ValueReply."""

    name: str


class Divide(NamedTuple):
    """Divide a job's value into elements, which become items. Answered by ElementsReply."""

    form: str
    parts: ValueParts


Step = Hello | Setup | Preflight | Define | RunChunk | Fold | Finish | Initial | Assign | Look | Divide


class Steps(NamedTuple):
    """Do several encoded requests in their order, up to the first that fails.

    Answered by what the first of them is answered by, or by that Failure.
    """

    requests: list[bytes]


Request = Step | Steps
_REQUESTS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Request)}


def encode_request(request: Request) -> bytes:
    """Encode a request as it travels."""
    fields: tuple[Any, ...] = tuple(request)
    if isinstance(request, Define):
        fields = (tuple(request.job),)
    return pickle.dumps((type(request).__name__, fields), protocol=4)


def decode_request(raw: bytes) -> Request:
    """Decode a request, on the engine. It comes from the client, which is trusted."""
    name, fields = pickle.loads(raw)  # noqa: S301
    if name == Define.__name__:
        return Define(JobDefinition(*fields[0]))
    request: Request = _REQUESTS[name](*fields)
    return request


# -- replies ----------------------------------------------------------------------------------


class Failure(NamedTuple):
    """Whatever was asked, the user's code, or what it needs, failed at ``stage``.

    ``reason`` is one line; ``type``, ``message`` and ``traceback`` are the exception's. ``missing``
    is the module that could not be imported, ``item`` the one that a reducer was at, ``hint``
    what to do about it.
    """

    stage: str
    reason: str
    type: str
    message: str
    traceback: str
    missing: str | None = None
    item: int = -1
    hint: str = ""


class Done(NamedTuple):
    """What was asked is done, and there is nothing to tell."""


class HelloReply(NamedTuple):
    """Where an engine is; ``position_file``: whether it could open the file."""

    host: str
    position_file: bool


class Again(NamedTuple):
    """An item, by its position in the chunk, that is to be tried again, and why.

    ``started`` and ``completed`` are of the engine's wall clock. ``line`` is the attempt's part of
    a record, where it has printed something and somebody listens.
    """

    position: int
    reason: str
    status: str
    started: float
    completed: float
    line: str = ""


class PickledValue(NamedTuple):
    """A value that JSON does not hold exactly; ``saved``: its record names a file for it.

    Its pickle is ``length`` bytes of ``ChunkReply.pickles``, in the order of the positions. ``file``
    says how the file is made of it, where that is not the pickle itself.
    """

    position: int
    saved: bool
    length: int
    file: ArrayFile | None = None


class ChunkReply(NamedTuple):
    """Records of a chunk's items: those since its last whole reply, or, while it runs, the last early one.

    Positions count items in the order in which they ended, and ``done`` are accounted for. ``order`` has
    the positions at which the new ones were sent, where that was another order, as side by side.
    ``positions`` are runs ``(first, count)`` of what ``lines`` has records of, ``again`` has the others.
    ``busy`` are seconds of the engine's monotonic clock, since the last request. ``begun`` items of the
    chunk were begun: those that are not done are under way, and replies to later requests have them.
    """

    chunk: int
    attempt: int
    done: int
    begun: int
    positions: list[tuple[int, int]]
    again: list[Again]
    values: list[PickledValue]
    tally: Tally
    busy: float
    order: list[int]
    lines: bytes
    pickles: bytes

    @property
    def first(self) -> int:
        """The position of the first item that it accounts for."""
        return self.done - len(self.again) - sum(count for _, count in self.positions)


class ChunkReplies(NamedTuple):
    """The reply of the chunk that was sent, last, and those of earlier ones whose items ended meanwhile."""

    replies: list[ChunkReply]


class Unmet(NamedTuple):
    """A chunk was not begun: what its function depends on is not there, on this engine."""

    reason: str


class Printed(NamedTuple):
    """Whole lines that a running item has printed: ``total`` of them, from number ``first`` on.

    ``lines`` has the first of them, the rest were too many. ``stream`` is ``out`` or ``err``.
    Published while a chunk runs, and only where somebody listens.
    """

    job: str
    item: int
    attempt: int
    stream: str
    first: int
    total: int
    lines: list[str]


class FoldReply(NamedTuple):
    """The new accumulator as a pickle; ``empty``: there is still none."""

    empty: bool
    accumulated: bytes


class ValueReply(NamedTuple):
    """A value as JSON text (``exact``: it is all there) and as a pickle; ``many``: a sequence."""

    exact: bool
    many: bool
    text: bytes
    pickled: bytes


class ElementsReply(NamedTuple):
    """Elements in their order: JSON text of each, and the length of its pickle, 0 where it is exact.

    ``pickles`` has the pickles one after another.
    """

    texts: list[str]
    lengths: list[int]
    pickles: bytes


class InitialReply(NamedTuple):
    """A value's pickle; ``neutral``: ``combine`` of two of it is it again."""

    neutral: bool
    pickled: bytes


Reply = (
    Failure
    | Done
    | HelloReply
    | ChunkReply
    | ChunkReplies
    | Unmet
    | Printed
    | FoldReply
    | ValueReply
    | ElementsReply
    | InitialReply
)
_REPLIES: dict[str, Any] = {kind.__name__: kind for kind in get_args(Reply)}


def encode_reply(reply: Reply) -> bytes:
    """Encode a reply: a line of JSON, ``[name, fields, sizes]``, then its fields of bytes."""
    # Bytes go behind the header as they are: JSON would have to escape them, and records are most of what
    # travels.
    reply_fields: Sequence[Any] = reply
    if isinstance(reply, ChunkReplies):
        reply_fields = [encode_reply(each) for each in reply.replies]
    parts = [field for field in reply_fields if isinstance(field, bytes)]
    fields = [field.to_list() if isinstance(field, Tally) else field for field in reply_fields]
    shown = [None if isinstance(field, bytes) else field for field in fields]
    header = [type(reply).__name__, shown, [len(part) for part in parts]]
    return b"".join((json.dumps(header, separators=(",", ":")).encode(), b"\n", *parts))


def decode_reply(raw: bytes) -> Reply:
    """Decode a reply, on the client. Raises ValueError for what is not a whole reply.

    Bytes come last among a reply's fields, in its class and here alike.
    """
    end = raw.find(b"\n")
    try:
        name, fields, sizes = json.loads(raw[:end])
        kind = _REPLIES[name]
        offset = end + 1
        # An engine may be hostile: every size and every name is checked, and nothing but ValueError comes
        # out.
        for place, size in enumerate(sizes, len(fields) - len(sizes)):
            fields[place] = raw[offset : offset + size]
            offset += size
        if offset != len(raw):
            raise ValueError(f"it announces {offset} bytes")
        if kind is ChunkReply:
            tally, order = map(ChunkReply._fields.index, ("tally", "order"))
            fields[tally] = Tally.from_list(fields[tally])
            fields[order] = [index(position) for position in fields[order]]
        if kind is ChunkReplies:
            replies = [each for each in map(decode_reply, fields) if isinstance(each, ChunkReply)]
            if not replies or len(replies) < len(fields):
                raise ValueError("some of them are not of chunks")
            return ChunkReplies(replies)
        reply: Reply = kind(*fields)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{len(raw)} bytes are not a reply of arcli's: {error}") from error
    if isinstance(reply, ChunkReply):
        return reply._replace(
            positions=[(first, count) for first, count in reply.positions],
            again=[Again(*entry) for entry in reply.again],
            values=[PickledValue(*entry[:3], entry[3] and ArrayFile(*entry[3])) for entry in reply.values],
        )
    return reply
