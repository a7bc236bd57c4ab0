"""What ``pg_stat_archiver`` says, judged."""

from __future__ import annotations

import pytest

from postgres_backup.health.archive_command import Archiver, trouble

LAST = "0000000100000000000000FE"
HOUR = 3600.0
MB16, GB1 = 16 << 20, 1 << 30


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (Archiver(LAST, None, "0000000100000000000000FF", MB16, HOUR), ""),
        (Archiver(LAST, None, "000000010000000100000000", MB16, HOUR), ""),
        (Archiver(LAST, None, "000000010000000100000001", MB16, HOUR), "leaves 2 pieces"),
        (Archiver(LAST, None, "000000010000000100000001", MB16, 60.0), ""),
        (Archiver(LAST + ".00000028.backup", None, "000000010000000100000002", MB16, HOUR), "3"),
        (Archiver("000000010000000000000003", None, "000000010000000100000001", GB1, HOUR), ""),
        (Archiver("000000010000000000000003", None, "000000010000000100000002", GB1, HOUR), "2"),
        (Archiver(LAST, LAST[:-1] + "F", "000000010000000100000000", MB16, HOUR), "fails for 0"),
        (Archiver(None, LAST, None, MB16, HOUR), f"fails for {LAST}"),
        # a promotion, of which nothing is archived yet; a standby; nothing was archived ever
        (Archiver(LAST, None, "000000020000000100000009", MB16, HOUR), ""),
        (Archiver("00000002.history", None, "000000020000000100000009", MB16, HOUR), ""),
        (Archiver(LAST, None, None, MB16, HOUR), ""),
        (Archiver(None, None, "000000010000000100000009", MB16, HOUR), ""),
    ],
)
def test_what_fails_or_waits_for_long_is_trouble(seen, why):
    assert why in trouble(seen)
    assert bool(trouble(seen)) == bool(why)
