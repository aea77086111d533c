"""The content key of an item: a hash of everything that decides its value.

The same function makes keys on engines, for records, and in the client, to find what an earlier run
has already computed.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from .encode import (
    PLAIN,
    SAFE,
    SORT_KEYS,
    are_flat,
    canonical,
    compiled_dumps,
    compiled_lines,
    encode,
    encode_apart,
    is_flat,
)

DIGEST_SIZE = 12


def salted(description: str) -> Any:
    """Return a hasher that has taken in what all items of a job share (JSON text)."""
    # By its digest: what is short enough is taken in together with an item, in one step and not in two.
    digest = blake2b(description.encode("utf-8", "surrogatepass"), digest_size=32).digest()
    return blake2b(digest, digest_size=DIGEST_SIZE)


def item_key(salt: Any, value: Any, occurrence: int = 0) -> str:
    """Return the key of an item: 24 hexadecimal digits, and ``-N`` where N equal items came before it."""
    return key_from(salt, fingerprint(value), occurrence)


def key_from(salt: Any, print_of_value: bytes, occurrence: int) -> str:
    """Return the same, from the value's ``fingerprint``."""
    hasher = salt.copy()
    hasher.update(print_of_value)
    key: str = hasher.hexdigest()
    return f"{key}-{occurrence}" if occurrence else key


def fingerprint(value: Any) -> bytes:
    """Return bytes that are the same for equal inputs of the same type.

    An input that JSON does not hold exactly is pickled as well: equal text is then not enough.
    """
    if (dumps := compiled_dumps()) is not None and is_flat(value):
        try:
            row: bytes = dumps(value, option=SORT_KEYS)
        except TypeError:  # surrogates
            pass
        else:
            return row
    try:
        text, exact = canonical(value)
    except Exception:  # noqa: BLE001 - Unfit, and what a mapping or array of the user's raises
        text, exact = "", False
    raw = text.encode()
    return raw if exact else raw + b"\0" + _pickled(value)


def fingerprints(values: Sequence[Any], *, flat: bool = False) -> list[bytes] | None:
    """Return the ``fingerprint`` of each value, made together; None where they are not all plain.

    ``flat``: somebody has looked, and they are.
    """
    encoders = compiled_lines()
    if encoders is None or not (flat or are_flat(values)):
        return None
    try:
        return encoders.in_order(values).splitlines()
    except UnicodeEncodeError:  # surrogates
        return None


def _pickled(value: Any) -> bytes:
    try:
        return pickle.dumps(value, protocol=4)
    except Exception:  # noqa: BLE001 - __reduce__ and __getstate__ may raise anything
        # It has an address in it, so that no two such inputs are ever taken for one another.
        return object.__repr__(value).encode("utf-8", "replace")


def input_text(value: Any, *, sizes: bool = False) -> tuple[str, bytes]:
    """Return an input as its record shows it, and its ``fingerprint``. Raises as ``encode_apart``.

    ``sizes``: of bytes it shows only how many there are. An input of a table's is the same for both but
    for the order of its keys.
    """
    kind = type(value)
    if kind is int and -SAFE < value < SAFE:  # the most common one
        text = str(value)
        return text, text.encode()
    if kind in PLAIN:
        text, exact = encode(value)
        return text, text.encode() if exact else fingerprint(value)
    if (dumps := compiled_dumps()) is not None and is_flat(value):
        try:
            return dumps(value).decode(), dumps(value, option=SORT_KEYS)
        except TypeError:  # surrogates
            pass
    return encode_apart(value, None, sizes=sizes)[0], fingerprint(value)


Head = tuple[str, str]
"""What a record begins with beside the item's number: its key, and the text of its input."""


class Heads(NamedTuple):
    """How the records of a chunk begin, by the positions of their items: keys, and texts of inputs."""

    keys: Sequence[str]
    texts: Sequence[str]

    def at(self, position: int) -> Head:
        """Return how one of them begins."""
        return self.keys[position], self.texts[position]


def heads(
    salt: Any, values: Sequence[Any], occurrences: Sequence[int] | None, *, flat: bool = False
) -> Heads | None:
    """Return how records of these inputs begin; None where they are not all plain.

    Made together, they cost a third of what single ones do.
    """
    encoders, prints = compiled_lines(), fingerprints(values, flat=flat)
    # One map that is several items is copied for each of them; rows are different ones.
    if (
        encoders is None
        or prints is None
        or (dict in map(type, values) and len({*map(id, values)}) < len(values))
    ):
        return None
    texts = encoders.as_they_are(values).decode().split("\n")[: len(values)]
    keys: list[str] = []
    copy = salt.copy
    for content in prints:
        hasher = copy()
        hasher.update(content)
        keys.append(hasher.hexdigest())
    if occurrences is not None:
        for position, count in enumerate(occurrences):
            if count:
                keys[position] = f"{keys[position]}-{count}"
    return Heads(keys, texts)


def head(index: int, key: str, text: str) -> str:
    """Return the first part of a record: which item it is, ``text`` being its input's."""
    return f'"index":{index},"key":"{key}","input":{text}'
