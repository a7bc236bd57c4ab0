"""What ``pg_stat_archiver`` says, judged."""

from __future__ import annotations

import pytest

from postgres_backup.health.archive_command import Archiver, trouble

LAST = "0000000100000000000000FE"
HOUR = 3600.0


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (Archiver(LAST, None, "0000000100000000000000FF", "16MB", HOUR), ""),
        (Archiver(LAST, None, "000000010000000100000000", "16MB", HOUR), ""),
        (Archiver(LAST, None, "000000010000000100000001", "16MB", HOUR), "leaves 2 pieces"),
        (Archiver(LAST, None, "000000010000000100000001", "16MB", 60.0), ""),
        (Archiver(LAST + ".00000028.backup", None, "000000010000000100000002", "16MB", HOUR), "3"),
        (Archiver("000000010000000000000003", None, "000000010000000100000001", "1GB", HOUR), ""),
        (Archiver("000000010000000000000003", None, "000000010000000100000002", "1GB", HOUR), "2"),
        (Archiver(LAST, LAST[:-1] + "F", "000000010000000100000000", "16MB", HOUR), "fails for 0"),
        (Archiver(None, LAST, None, "16MB", HOUR), f"fails for {LAST}"),
        # a promotion, of which nothing is archived yet; a standby; nothing was archived ever
        (Archiver(LAST, None, "000000020000000100000009", "16MB", HOUR), ""),
        (Archiver("00000002.history", None, "000000020000000100000009", "16MB", HOUR), ""),
        (Archiver(LAST, None, None, "16MB", HOUR), ""),
        (Archiver(None, None, "000000010000000100000009", "16MB", HOUR), ""),
    ],
)
def test_what_fails_or_waits_for_long_is_trouble(seen, why):
    assert why in trouble(seen)
    assert bool(trouble(seen)) == bool(why)
