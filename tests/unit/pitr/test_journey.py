"""What PostgreSQL's log says of a recovery; the lines are those of a PostgreSQL 17."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from postgres_backup.pitr import journey
from postgres_backup.pitr.target import Target

AT = Target("time", "x", datetime(2026, 1, 27, 14, 3, tzinfo=timezone.utc))
HEAD = "2026-01-27 15:00:00.123 UTC [77] LOG:  "


@pytest.mark.parametrize(
    ("target", "line", "stopped"),
    [
        (
            AT,
            "recovery stopping before commit of transaction 755, time 2026-01-27 14:03:00.25+00",
            "2026-01-27 14:03:00.25",
        ),
        (
            AT,
            "recovery stopping before abort of transaction 755, time 2026-01-27 14:03:01+00",
            "2026-01-27 14:03:01",
        ),
        (
            Target("lsn", "0/5000028"),
            'recovery stopping after WAL location (LSN) "0/5000028"',
            "0/5000028",
        ),
        (
            Target("name", "before"),
            'recovery stopping at restore point "before", time 2026-01-27 14:03:00.25+00',
            "before",
        ),
        (Target("latest"), "redo done at 0/5000028", ""),
        (AT, "redo done at 0/5000028", ""),
    ],
)
def test_what_ended_it_is_known(target, line, stopped):
    last = "last completed transaction was at log time 2026-01-27 14:02:59.9+00"
    way = journey.read(f"{HEAD}{line}\n{HEAD}{last}\n", target)
    assert way.stopped_at == stopped
    assert way.last_commit == "2026-01-27 14:02:59.9"
    assert (way.fell_short, way.failed) == (False, "")


def test_a_log_that_ends_too_early_is_told_from_other_failures():
    short = "recovery ended before configured recovery target was reached"
    way = journey.read(f"2026-01-27 15:00:00.123 UTC [77] FATAL:  {short}\n", AT)
    assert way.fell_short
    other = journey.read("x FATAL:  could not map\x1b[2J memory\nx FATAL:  second\n", AT)
    assert (other.fell_short, other.failed) == (False, "could not map\\x1b[2J memory")
