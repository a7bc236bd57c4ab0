"""The time now, and the two ways in which times are written.

Everything is UTC, to the second: names of backups have no smaller unit.
"""

from __future__ import annotations

import functools
from datetime import datetime, timezone

#: in names of objects and databases
_TIME_FORMAT = "%Y-%m-%d_%H-%M-%S"
#: in manifests, results and messages
_TIMESTAMP_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def utc_now() -> datetime:
    """The time now, in UTC, to the second."""
    return datetime.now(timezone.utc).replace(microsecond=0)


def format_time(at: datetime) -> str:
    """``2026-01-27_00-00-00`` for a time of any time zone."""
    return at.astimezone(timezone.utc).strftime(_TIME_FORMAT)


def parse_time(text: str) -> datetime:
    """``2026-01-27_00-00-00`` as a time, UTC.

    :raises ValueError: the text is not exactly such a time, or no such day exists.
    """
    try:  # strptime takes five times as long, and a listing has thousands
        at = datetime.fromisoformat(f"{text[:10]}T{text[11:].replace('-', ':')}")
    except ValueError:
        raise ValueError(f"time data {text!r} does not match {_TIME_FORMAT}") from None
    at = at.replace(tzinfo=timezone.utc)
    if format_time(at) != text:  # a year before 1000, digits of other scripts
        raise ValueError(f"{text!r} is written otherwise")
    return at


@functools.lru_cache(maxsize=4096)  # a list of backups tells each of its moments several times
def format_timestamp(at: datetime) -> str:
    """``2026-01-27T00:00:00Z`` for a time of any time zone."""
    return at.astimezone(timezone.utc).strftime(_TIMESTAMP_FORMAT)


@functools.lru_cache(maxsize=4096)  # a page asks for the same moments five times over
def parse_timestamp(text: str) -> datetime:
    """``2026-01-27T00:00:00Z`` as a time, UTC.

    :raises ValueError: it is not such a time.
    """
    return datetime.strptime(text, _TIMESTAMP_FORMAT).replace(tzinfo=timezone.utc)
