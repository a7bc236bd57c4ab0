"""When a schedule of an older script runs, as the time of day in UTC that ours is told by. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timezone

_DAILY = ("@daily", "@midnight", "daily", "*-*-*")
#: minute and hour of a crontab's line that runs each day
_FIELDS = re.compile(r"(\d{1,2}) (\d{1,2}) \* \* \*")
#: systemd.time(7), as far as it is one time each day
_CALENDAR = re.compile(r"(?:\*-\*-\* )?(\d{1,2}):(\d{2})(?::\d{2}(?:\.\d+)?)?( UTC)?")


def in_utc(when: str, here: datetime) -> str:
    """``HH:MM`` in UTC of what runs once a day; empty where it does not, or that cannot be told.

    :param when: five fields of a crontab or a word such as ``@daily``; or a timer's OnCalendar.
    :param here: now, in the zone of the server, by which its cron and its timers go. Where clocks
        are put forward in summer it is the offset of today.
    """
    hour, minute, utc = 0, 0, False
    if found := _FIELDS.fullmatch(when):
        minute, hour = int(found[1]), int(found[2])
    elif found := _CALENDAR.fullmatch(when):
        hour, minute, utc = int(found[1]), int(found[2]), bool(found[3])
    elif when not in _DAILY:
        return ""
    if hour > 23 or minute > 59:
        return ""
    zone = timezone.utc if utc else here.tzinfo
    at = here.replace(hour=hour, minute=minute, second=0, microsecond=0, tzinfo=zone)
    return f"{at.astimezone(timezone.utc):%H:%M}"
