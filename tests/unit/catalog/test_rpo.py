"""The longest time between two backups, by the journal."""

from __future__ import annotations

from datetime import datetime, timezone

from postgres_backup.catalog import rpo

NOW = datetime(2026, 1, 10, tzinfo=timezone.utc)


def event(day: int, hour: int = 0, **more: object) -> dict[str, object]:
    stamp = f"2026-01-{day:02d}T{hour:02d}:00:00Z"
    name = f"postgres-backup-2026-01-{day:02d}_{hour:02d}-00-00.sql.gz"
    return {"at": stamp, "event": "backup", "backup": name, "signature": "trusted"} | more


def hours(*events: dict[str, object]) -> float | None:
    known = rpo.longest(events, NOW)
    return known["hours"] if known else None


def test_from_one_to_the_next_or_to_now():
    nights = [event(day) for day in range(1, 10)]
    assert hours(*nights) == 24
    assert hours(*nights[:4], *nights[5:]) == 48
    assert hours(*nights[:-2]) == 72, "nobody has taken one since"
    known = rpo.longest(nights[:4] + nights[5:], NOW)
    assert (known["since"], known["until"]) == ("2026-01-04T00:00:00Z", "2026-01-06T00:00:00Z")
    assert "2 d, from 2026-01-04T00:00:00Z to 2026-01-06" in rpo.line(known, 30)
    assert hours() is None


def test_what_counts_is_a_whole_backup_that_ended_well_and_that_the_server_has_signed():
    nights = [event(day) for day in (1, 9)]
    for other in (
        event(5, event="backup-failed"),
        event(5, backup="postgres-backup-2026-01-05_00-00-00.users.sql.gz"),
        event(5, signature="stranger"),
        event(5, signature="unsigned"),
        event(20),
    ):
        assert hours(*nights, other) == 192, other
    assert hours(*nights, event(5)) == 96
    old = [one | {"signature": "unsigned"} for one in nights]
    assert hours(*old) == 192, "of a server that signs nothing"
