"""Durations, sizes and times, between the text that people write and the numbers inside.

Inside arcli seconds are floats and sizes are bytes; they are formatted where they are shown.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()
DURATION = r"(?:\d+(?:\.\d+)?(?:us|ms|s|m|h|d)\s*)+"
"""The pattern of a duration with units."""
FOREVER = 36_500 * _UNITS["d"]
"""A hundred years: a longer duration is taken for this one, for timers of the system hold not much more."""
MOST = 2**53 - 1
"""The largest count: of those beyond it not all programs that read JSON tell one from the next.

https://www.rfc-editor.org/rfc/rfc8259#section-6
"""
_DURATION = re.compile(DURATION)
_TOGETHER = re.compile(r"\d (?:[mµn]?s|min|h|[kMGT]?B|%)(?!\w)|`[^`]*`")
_PART = re.compile(r"(\d+(?:\.\d+)?)(us|ms|s|m|h|d)")


def parse_duration(value: str | float) -> float:
    """``250ms``, ``30s``, ``5m``, ``2h``, ``1h30m`` or a number of seconds, as seconds.

    It is FOREVER at most. Raises ValueError for anything else, and for what is negative or not finite.
    """
    if isinstance(value, str):
        # Parts with units add up, as in 1h30m.
        text = value.strip()
        if _DURATION.fullmatch(text):
            return min(FOREVER, sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text)))
        # A number without a unit is seconds, also as text.
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a duration such as 250ms, 30s, 5m or 2h") from None
    if not 0 <= value < float("inf"):
        raise ValueError(f"{value!r} is not a duration: it must be finite and not negative")
    return float(min(FOREVER, value))


def format_seconds(seconds: float) -> str:
    """Return seconds for people, three figures: ``850 ns``, ``12.3 ms``, ``4.56 s``, ``2 min 05 s``."""
    if seconds < 0:
        return "-" + format_seconds(-seconds)
    if seconds == 0:
        return "0 s"
    # Three digits and the unit that shows them; what would round up to a minute is
    # one.
    if seconds < 59.95:
        for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
            if seconds >= size * 0.9995 or unit == "ns":
                number = seconds / size
                digits = 2 if number < 9.995 else 1 if number < 99.95 else 0
                return f"{number:.{digits}f} {unit}"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def format_bytes(size: float) -> str:
    """Return bytes for people, in powers of 1,000: ``17 B``, ``4.2 kB``, ``1.3 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 999.5:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.5 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def isoformat(timestamp: float) -> str:
    """Return seconds since the epoch as ISO 8601 UTC, as in ``2026-01-31T12:00:00.000000Z``."""
    # Several times as fast as ``strftime``; each chunk has two.
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def parse_time(text: object) -> float | None:
    """Return the inverse of ``isoformat``, from 1970 to 9998; None for anything that is no such time."""
    # It may have been edited: a time without a zone is UTC, one out of reach is none at all.
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return seconds if 0 <= seconds < _LATEST else None  # every time zone can show these


def wrap(text: str, width: int, indent: str = "") -> list[str]:
    """Return a line as those of at most ``width`` characters that it takes, all but the first indented.

    A number and its unit stay together, and so does a command in backquotes, for whoever copies it.
    """
    if len(text) <= width:
        return [text]
    import textwrap  # most lines fit

    joined = _TOGETHER.sub(lambda part: part[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
    lines = textwrap.wrap(
        joined,
        max(len(indent) + 10, width),
        subsequent_indent=indent,
        replace_whitespace=False,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
