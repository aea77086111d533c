"""Values as JSON text and back, and large arrays as files.

What JSON lacks is tagged by an object with one key that starts with ``$``; a user's key that starts
with ``$`` gets a second one. What has no JSON form at all raises ``Unfit``.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import enum
import io
import json
import math
import os
import pickle
import struct
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import suppress
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

_quote = json.encoder.encode_basestring
LARGE = 1 << 14
"""Bytes from which on an array or bytes of a value rest in a file of their own."""
_MAX_BITS = sys.float_info.max_exp
_NAMES = {math.inf: "Infinity", -math.inf: "-Infinity"}
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode
_sorted = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), allow_nan=False, sort_keys=True
).encode
_LONG = 1 << 10
"""Characters from which on a text is worth a call of another encoder."""
SAFE = 10**18
"""Integers below this are written in the same way by every encoder."""


class Unfit(ValueError):
    """A value that JSON cannot hold."""


def encode(value: Any) -> tuple[str, bool]:
    """JSON text of ``value``, and whether ``decode`` gives an equal value of the same type.

    Raises Unfit where there is no JSON form.
    """
    kind = type(value)
    if kind is float and value - value == 0.0:  # finite
        return repr(value), True
    if kind is str and value.isascii():
        # It has no surrogates, which the compiled encoder refuses; that scans it much faster.
        if len(value) > _LONG and (dumps := compiled_dumps()) is not None:
            return dumps(value).decode(), True
        return _quote(value), True
    if kind is int and -SAFE < value < SAFE:
        return str(value), True
    if value is None:
        return "null", True
    tree, exact = to_tree(value)
    return _dump(_compact, tree), exact


def encode_apart(value: Any, path: str | None, *, sizes: bool = False) -> tuple[str, bool, bool]:
    """Like ``encode``, but for what is large: an array is a tag of its type, shape and ``path``.

    Also returns whether there is anything large, which is in the text only by its tag; ``sizes``: as are
    bytes of any length. Raises Unfit.
    """
    if (dumps := compiled_dumps()) is not None and is_flat(value):
        try:
            return dumps(value).decode(), True, False
        except TypeError:  # surrogates
            pass
    builder = _Builder(apart=True, path=path, sizes=sizes)
    return _dump(_compact, builder.tree(value)), builder.exact, builder.large


@cache
def compiled_dumps() -> Any:
    """Return a compiled encoder that writes bytes, None where there is none.

    Engines of arcli's own Python have orjson, others do without. Both write the same, as far as
    ``is_flat`` lets them.
    """
    try:
        import orjson
    except ImportError:
        return None
    return orjson.dumps


def is_flat(value: Any) -> bool:
    """Tell whether it is a mapping of plain values which every encoder writes in the same way.

    Encoders differ in floats with an exponent, integers beyond 64 bits, and what is tagged.
    """
    if type(value) is not dict:
        return False
    # By exact type and without a call: this looks at every value of every item.
    for key, part in value.items():
        kind = type(part)
        if type(key) is not str or key[:1] == "$":
            return False
        if kind is str or part is None or kind is bool:
            continue
        if kind is float:
            if not (1e-4 <= part < 1e16 or -1e16 < part <= -1e-4 or part == 0.0):
                return False
        elif kind is not int or not -SAFE < part < SAFE:
            return False
    return True


PLAIN: frozenset[type] = frozenset({int, float, str, bool, type(None)})
"""Types whose canonical text is their text."""


class LineEncoders(NamedTuple):
    """Compiled encoders of many values, one a line: keys in the order they have, or sorted."""

    as_they_are: Callable[[Sequence[Any]], bytes]
    in_order: Callable[[Sequence[Any]], bytes]


@cache
def compiled_lines() -> LineEncoders | None:
    """Return what encodes the rows of a table together, None where there is none.

    As with ``compiled_dumps``, the bytes are the standard library's, as far as ``are_flat`` lets them.
    """
    try:
        from msgspec.json import Encoder

        return LineEncoders(Encoder().encode_lines, Encoder(order="sorted").encode_lines)
    except (ImportError, AttributeError, TypeError):  # an engine of others' may have an old one
        return None


def are_flat(values: Sequence[Any]) -> bool:
    """Tell what ``is_flat`` does, of many mappings together, or of many plain values."""
    # By the column and not by the cell: what is left for Python are the kinds that there are, and numbers.
    columns: Sequence[Sequence[Any]] = [values]
    if set(map(type, values)) == {dict}:
        if not set(map(type, chain.from_iterable(values))) <= {str}:
            return False
        if any(key[:1] == "$" for key in set(chain.from_iterable(values))):
            return False
        try:
            columns = list(zip(*map(dict.values, values), strict=True))
        except ValueError:  # rows of different lengths
            return all(map(is_flat, values))
    for column in columns:
        kinds = set(map(type, column))
        if not kinds <= PLAIN:
            return False
        if int in kinds and [part for part in column if type(part) is int and not -SAFE < part < SAFE]:
            return False
        floats = [part for part in column if type(part) is float] if float in kinds else []
        if [part for part in floats if not (1e-4 <= part < 1e16 or -1e16 < part <= -1e-4 or part == 0.0)]:
            return False
    return True


SORT_KEYS = 1 << 5
"""orjson.OPT_SORT_KEYS, which need not be imported for it."""


def canonical(value: Any) -> tuple[str, bool]:
    """Like ``encode_apart``, with the keys of objects sorted: equal values give equal text."""
    if type(value) in PLAIN:
        return encode(value)
    builder = _Builder(apart=True)
    return _dump(_sorted, builder.tree(value)), builder.exact


def _dump(encoder: Any, tree: Any) -> str:
    try:
        text: str = encoder(tree)
    except (ValueError, RecursionError) as error:  # an int of more than 4,300 digits, too deep
        raise Unfit(str(error)) from None
    return text


def decode(text: str | bytes) -> Any:
    """Return the value that ``encode`` wrote, as far as JSON could hold it."""
    return from_tree(json.loads(text))


def from_tree(tree: Any) -> Any:
    """Undo the tags in decoded JSON."""
    if isinstance(tree, list):
        return [from_tree(part) for part in tree]
    if not isinstance(tree, dict):
        return tree
    # Tagged values are mappings of one key; a user's own key that starts with $ has
    # a second one.
    if len(tree) == 1:
        ((key, value),) = tree.items()
        with suppress(TypeError, ValueError):  # a journal that was damaged: it is what it is
            if key == "$bytes":
                return base64.b64decode(value)
            if key == "$float":
                return float(value)
            if key == "$int":
                return int(value)
    return {(key[1:] if key.startswith("$$") else key): from_tree(value) for key, value in tree.items()}


def to_tree(value: Any) -> tuple[Any, bool]:
    """``value`` as what the json module can write, and whether it can be had back exactly."""
    builder = _Builder()
    return builder.tree(value), builder.exact


class _Builder:
    """One conversion; ``exact`` turns False with the first loss of type or value.

    ``apart``: what is large is left out, and stands in the file ``path``, if anywhere; ``sizes``: bytes of
    any length are.
    """

    def __init__(self, *, apart: bool = False, path: str | None = None, sizes: bool = False) -> None:
        self.exact = True
        self.large = False
        self._apart = apart
        self._most_bytes = -1 if sizes else LARGE
        self._path = path

    def tree(self, value: Any) -> Any:
        """Return the whole value. Raises Unfit."""
        try:
            return self.plain(value)
        except RecursionError:
            raise Unfit("nested too deeply, or containing itself") from None

    def plain(self, value: Any) -> Any:
        kind = type(value)
        # By the exact type, in the order of how common they are: this runs for each
        # part of each value.
        if value is None or kind is bool:
            return value
        if kind is int:
            return self._int(value)
        if kind is float:
            return self._float(value)
        if kind is str:
            return self._text(value)
        if kind is list:
            return [self.plain(part) for part in value]
        if kind is dict:
            return self._mapping(value)
        if kind is bytes:
            return self._bytes(value)
        # Subclasses and everything else come back as something else than they were.
        self.exact = False
        return self._inexact(value)

    def _int(self, value: int) -> Any:
        """Return a number, or text where it is one that readers who know only floats take for infinite."""
        if value.bit_length() < _MAX_BITS:
            return value
        try:
            return {"$int": str(value)}
        except ValueError as error:  # more than 4,300 digits
            raise Unfit(str(error)) from None

    def _float(self, value: float) -> Any:
        if math.isfinite(value):
            return value
        return {"$float": _NAMES.get(value, "NaN")}

    def _bytes(self, value: bytes) -> Any:
        if self._apart and len(value) > self._most_bytes:
            self.exact, self.large = False, True
            return {"$pickle": self._path, "repr": f"{len(value):,} bytes"}
        return {"$bytes": base64.b64encode(value).decode("ascii")}

    def _array(self, value: Any) -> Any:
        """Return an array or a scalar of NumPy's."""
        no_json = value.dtype.kind in "VcmM"
        if self._apart and value.ndim and (no_json or value.nbytes > LARGE) and not value.dtype.hasobject:
            self.large = True
            about = {"dtype": str(value.dtype), "shape": list(value.shape)}
            return {"$array": {**about, "path": self._path} if self._path else about}
        if no_json:
            raise Unfit(f"an array of {value.dtype}")
        return self.plain(value.tolist())

    def _text(self, value: str) -> Any:
        try:
            value.encode()
        except UnicodeEncodeError:  # a file name that is not UTF-8: JSON cannot hold surrogates
            self.exact = False
            # There may be surrogates that no undecodable byte has left.
            wild = any("\ud800" <= char <= "\udfff" and not "\udc80" <= char <= "\udcff" for char in value)
            raw = value.encode("utf-8", "surrogatepass" if wild else "surrogateescape")
            return {"$bytes": base64.b64encode(raw).decode("ascii")}
        return value

    def _mapping(self, value: Mapping[Any, Any]) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, part in value.items():
            # JSON has only text as keys; numbers and the like become it, unless two
            # then are the same.
            if type(key) is not str:
                self.exact = False
                key = self._key(key)
            try:
                key.encode()
            except UnicodeEncodeError:
                raise Unfit("a key is not valid Unicode") from None
            if key.startswith("$"):
                key = "$" + key
            if key in plain:
                raise Unfit(f"two keys become {key!r}")
            plain[key] = self.plain(part)
        return plain

    def _key(self, key: Any) -> str:
        numpy = _numpy()
        if isinstance(key, enum.Enum):  # before numbers, which some are
            return self._key(key.value)
        if isinstance(key, int | float | None) or (numpy and isinstance(key, numpy.generic)):
            return str(key)
        if isinstance(key, tuple):
            return ",".join(self._key(part) for part in key)
        tree = self.plain(key)
        if isinstance(tree, str):
            return tree
        raise Unfit(f"a key of type {type(key).__name__}")

    def _inexact(self, value: Any) -> Any:
        numpy = _numpy()
        if numpy is not None and isinstance(value, numpy.generic | numpy.ndarray):
            return self._array(value)
        # Subclasses, enumerations among them, are shown as the plain values that
        # they are.
        if isinstance(value, str):
            return self._text(str.__str__(value))
        if isinstance(value, int):
            return self._int(int(value))
        if isinstance(value, float):
            return self._float(float(value))
        if isinstance(value, bytearray | memoryview):
            return self.plain(bytes(value))
        # Whatever behaves as a mapping, a sequence or a set is shown as one.
        if isinstance(value, Mapping):
            return self._mapping(value)
        if isinstance(value, list | tuple):
            return [self.plain(part) for part in value]
        if isinstance(value, Set):
            return [self.plain(part) for part in _in_order(value)]
        return self._object(value)

    def _object(self, value: Any) -> Any:
        """Return what is no number, text or container: as people know it. Raises Unfit."""
        if isinstance(value, dt.date | dt.time):  # datetime is a date
            return value.isoformat()
        if _is_text(value):
            return self._text(str(value))
        if isinstance(value, enum.Enum):
            return self.plain(value.value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._mapping(
                {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
            )
        raise Unfit(f"an object of type {type(value).__name__}")


def _is_text(value: Any) -> bool:
    """Tell whether people know a value by its text: a path, a UUID, a decimal, a span of time, …

    By the names of its classes, so that nobody has to import them.
    """
    return isinstance(value, os.PathLike | dt.timedelta) or any(
        (kind.__module__, kind.__qualname__) in _TEXTS for kind in type(value).__mro__
    )


_TEXTS = frozenset(
    [("decimal", "Decimal"), ("fractions", "Fraction"), ("uuid", "UUID"), ("ipaddress", "_IPAddressBase")]
)


def _numpy() -> Any:
    """NumPy, if somebody here has imported it; another thread may just be doing so."""
    module = sys.modules.get("numpy")
    return module if hasattr(module, "ndarray") and hasattr(module, "generic") else None


def _in_order(value: Set[Any]) -> list[Any]:
    """Return a set's members in an order that does not depend on hash seeds, where they have one."""
    try:
        return sorted(value)
    except TypeError:
        return sorted(value, key=repr)


PROTOCOL = 5
_PIECE = b"\x96"  # BYTEARRAY8, of which pickletools tells
_BYTES = {"SHORT_BINBYTES": 2, "BINBYTES": 5, "BINBYTES8": 9}
"""What writes bytes in a pickle, and how far they begin behind it."""


class ArrayFile(NamedTuple):
    """A file in NumPy's format: its header (as Latin-1), and where in the pickle its bytes are."""

    header: str
    start: int
    length: int


def pickled(value: Any) -> bytes:
    """Return a pickle that any engine can open. Raises what pickling raises."""
    return pickle.dumps(value, protocol=PROTOCOL)


def array_file(value: Any, pickle_of_it: bytes) -> ArrayFile | None:
    """Tell how the file of an array is made of its pickle; None where ``value`` is not a plain array.

    https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    numpy = sys.modules.get("numpy")
    if numpy is None or type(value) is not numpy.ndarray or value.dtype.hasobject:
        return None
    # In protocol 5 the array's bytes follow their length in one piece, in the order of memory.
    piece = _PIECE + struct.pack("<Q", value.nbytes)
    start = pickle_of_it.find(piece, 0, 4096)
    start = start + len(piece) if start >= 0 else _bytes_in(pickle_of_it, value.nbytes)
    from numpy.lib import format as npy

    # What NumPy writes before the data of a .npy file.
    header = io.BytesIO()
    npy.write_array_header_2_0(header, npy.header_data_from_array_1_0(value))
    return ArrayFile(header.getvalue().decode("latin-1"), start, value.nbytes)


def _bytes_in(pickle_of_it: bytes, length: int) -> int:
    """Return where so many bytes begin in the pickle of an array: of dates, in steps, or read-only."""
    import pickletools  # seldom needed

    return next(
        (place or 0) + _BYTES[code.name]
        for code, argument, place in pickletools.genops(pickle_of_it)
        if code.name in _BYTES and len(argument or b"") == length
    )
