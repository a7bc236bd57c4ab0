"""When an older script runs, in UTC."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.moving.times import in_utc

ALMATY = datetime(2026, 1, 27, 15, 4, 5, tzinfo=timezone(timedelta(hours=5)))
KATHMANDU = ALMATY.replace(tzinfo=timezone(timedelta(hours=5, minutes=45)))


@pytest.mark.parametrize(
    ("when", "here", "at"),
    [
        ("0 0 * * *", ALMATY, "19:00"),
        ("30 3 * * *", ALMATY, "22:30"),
        ("00 23 * * *", ALMATY, "18:00"),
        ("0 0 * * *", KATHMANDU, "18:15"),
        ("0 0 * * *", ALMATY.astimezone(timezone.utc), "00:00"),
        ("@daily", ALMATY, "19:00"),
        ("@midnight", ALMATY, "19:00"),
        # systemd's
        ("daily", ALMATY, "19:00"),
        ("*-*-* 02:30:00", ALMATY, "21:30"),
        ("2:30", ALMATY, "21:30"),
        ("*-*-* 02:30:00 UTC", ALMATY, "02:30"),
        # not once a day, or nothing that can be told
        ("0 */6 * * *", ALMATY, ""),
        ("0 0 * * 1-5", ALMATY, ""),
        ("0 0,12 * * *", ALMATY, ""),
        ("15 * * * *", ALMATY, ""),
        ("60 0 * * *", ALMATY, ""),
        ("0 24 * * *", ALMATY, ""),
        ("@reboot", ALMATY, ""),
        ("@weekly", ALMATY, ""),
        ("Mon *-*-* 02:30:00", ALMATY, ""),
        ("02:30 Asia/Almaty", ALMATY, ""),
        ("", ALMATY, ""),
    ],
)
def test_one_time_of_each_day_is_told_in_utc(when, here, at):
    assert in_utc(when, here) == at
