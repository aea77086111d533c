"""Values that a record does not hold: large arrays, which rest in files of their own.

An array travels as a pickle whose protocol keeps its bytes in one piece
(https://peps.python.org/pep-0574/). They are also all that NumPy's own file format has behind its
header, so that the file can be cut out of the pickle, by a client that has no NumPy.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
from typing import Any, NamedTuple

PROTOCOL = 5
_PIECE = b"\x96"  # BYTEARRAY8, of which pickletools tells


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
    # In protocol 5 the array's bytes follow their length in one piece, in the order
    # of memory.
    piece = _PIECE + struct.pack("<Q", value.nbytes)
    start = pickle_of_it.find(piece, 0, 4096)
    if start < 0:  # it is not in one piece in memory either
        return None
    from numpy.lib import format as npy

    # What NumPy writes before the data of a .npy file:
    # https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    header = io.BytesIO()
    npy.write_array_header_2_0(header, npy.header_data_from_array_1_0(value))
    return ArrayFile(header.getvalue().decode("latin-1"), start + len(piece), value.nbytes)
