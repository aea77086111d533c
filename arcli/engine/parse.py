"""Read the numbers and the JSON that files hold and programs print: what no float holds is no number."""

from __future__ import annotations

import json
import math
import re

NOT_FINITE = re.compile(r"\s*[+-]?(nan|inf|infinity)\s*", re.ASCII | re.IGNORECASE)
"""How a float that is no number, or infinite, is written."""


class TooLargeError(ValueError):
    """A ``number``, as it is written, that no float can hold."""

    def __init__(self, number: str) -> None:
        super().__init__(f"{number} is too large for a float")
        self.number = number


def float_value(text: str) -> float:
    """Read a float. Raises ValueError, TooLargeError too."""
    # Python reads `1_000` and turns `1e999` into infinity: in a text both are more likely a mistake.
    number = float(text)
    if "_" in text:
        raise ValueError("digits are not grouped by _")
    if math.isinf(number) and not NOT_FINITE.fullmatch(text):
        raise TooLargeError(text.strip())
    return number


json_value = json.JSONDecoder(parse_float=float_value).decode
"""Reads JSON, with the NaN and Infinity that Python writes. Raises ValueError, TooLargeError too."""
