"""When the nightly run is due: a time of day in UTC, whatever zone the server's cron lives in.

Debian's cron runs in the server's zone and knows no CRON_TZ (its crontab(5)), so it calls every 15 minutes, which is what every zone's
offset is a multiple of, and the program looks at the clock.
"""

from __future__ import annotations

import json
import os
import re
from datetime import datetime, timedelta, timezone

from .errors import UsageError
from .settings import Settings

#: minutes between two calls by cron
PERIOD = timedelta(minutes=15)


def slot(at: str, now: datetime) -> datetime | None:
    """The run that is due now, as its planned moment; None where none is.

    :param at: ``HH:MM``, UTC.
    :raises UsageError: not a time of day.
    """
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", at):
        raise UsageError(f"{at!r} is not a time of day", "Write HH:MM in UTC, such as 00:00")
    hour, minute = map(int, at.split(":"))
    planned = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if planned > now:
        planned -= timedelta(days=1)
    return planned if now - planned < PERIOD else None


def is_due(at: str) -> bool:
    """Cheap: asked every 15 minutes, before anything is loaded."""
    return slot(at, datetime.now(timezone.utc)) is not None


def begin(settings: Settings, at: str) -> bool:
    """Claim the run that is due; False where it was claimed before (clocks that go back call twice)."""
    planned = slot(at, datetime.now(timezone.utc))
    if planned is None:
        return False
    path = os.path.join(settings.state_dir, "last-scheduled.json")
    try:
        with open(path, encoding="utf-8") as file:
            if json.load(file).get("planned") == planned.isoformat():
                return False
    except (FileNotFoundError, ValueError):  # the first run ever, or a state cut short by a power loss
        pass
    beside = f"{path}.{os.getpid()}"
    try:
        with open(beside, "w", encoding="utf-8") as file:
            json.dump({"planned": planned.isoformat()}, file)
        os.replace(beside, path)
    except OSError as error:
        raise UsageError(f"Failed to write {path}: {error.strerror}", f"The directory must exist and be writable: STATE_DIR={settings.state_dir}") from None
    return True
