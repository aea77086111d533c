"""Moments of the past as people say them, in their own time zone."""

from __future__ import annotations

from datetime import datetime, timedelta

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def friendly(moment: datetime, now: datetime) -> str:
    """``today 14:05``, ``yesterday 14:05``, ``Tue 14:05``, ``3 Mar 14:05``, ``2025-03-03``.

    Both are in the time zone of the reader. English whatever the locale, as all of arcli's words.
    """
    clock = moment.strftime("%H:%M")
    days = now.date() - moment.date()
    if days == timedelta(0):
        return f"today {clock}"
    if days == timedelta(days=1):
        return f"yesterday {clock}"
    if timedelta(0) < days < timedelta(days=7):
        return f"{_DAYS[moment.weekday()]} {clock}"
    if timedelta(0) < days < timedelta(days=300):
        return f"{moment.day} {_MONTHS[moment.month - 1]} {clock}"
    return moment.strftime("%Y-%m-%d")


def friendly_time(seconds: float) -> str:
    """Return a moment, in seconds since the epoch, seen from now."""
    return friendly(datetime.fromtimestamp(seconds), datetime.now())
