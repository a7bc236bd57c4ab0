"""A name counts as long as the store's clock bears it out."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.catalog import dated
from postgres_backup.catalog.backups import Backup, newest_good
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.catalog.retention import Policy, plan

NOW = datetime(2026, 3, 30, 0, 0, 5, tzinfo=timezone.utc)
YEAR = timedelta(days=365)


def backup(taken: timedelta, written: timedelta | None, **more: object) -> Backup:
    """A good one of ours, named and written so long after (before) now."""
    modified = None if written is None else NOW + written
    name, layout = BackupName(NOW + taken), Layout("postgres-backup")
    made = Backup(name, layout, 10, {"bytes": 10}, ours=True, candidate=True, modified=modified)
    return dataclasses.replace(made, **more)


@pytest.mark.parametrize(
    ("taken", "written", "ahead"),
    [
        (timedelta(), timedelta(seconds=40), False),
        (timedelta(), -dated.AHEAD, False),
        (timedelta(seconds=1), -dated.AHEAD, True),
        (YEAR, timedelta(), True),
        (-YEAR, timedelta(), False),  # copied by aws s3 sync
        (YEAR, None, False),
    ],
)
def test_only_a_name_later_than_its_writing_is_ahead(taken, written, ahead):
    made = backup(taken, written)
    assert made.ahead is ahead
    assert made.dated_at == (NOW + written if ahead else NOW + taken)


def test_the_newest_is_the_newest_name_that_is_not_ahead():
    """Neither by name alone, nor by when they were written: the older one was copied last."""
    older, newer = backup(-timedelta(days=2), timedelta()), backup(-timedelta(days=1), -timedelta())
    ahead = backup(YEAR, -timedelta(days=3))
    assert newest_good([ahead, older, newer]) is newer
    assert newest_good([ahead]) is None
    assert dated.timely([ahead, older]) == [older]
    assert dated.timely([ahead]) == [ahead]


def test_it_pushes_no_good_one_out_and_goes_by_when_it_was_written():
    old = backup(-timedelta(days=40), -timedelta(days=40))
    ahead = [backup(YEAR * n, -timedelta(days=20, seconds=n)) for n in (1, 2, 3)]
    decided = {d.backup.key: d for d in plan([*ahead, old], Policy(7, 1, 1, True), NOW)}
    assert decided[old.key].reason == "the newest good backup"
    assert not any(decided[one.key].keep for one in ahead)
    young = backup(YEAR, -timedelta(days=6))
    [kept] = [d for d in plan([young, old], Policy(7), NOW) if d.backup is young]
    assert kept.keep
    assert kept.reason == (
        "dated in the future, written 2026-03-24T00:00:05Z: not older than 7 days"
    )


def test_where_all_are_ahead_the_newest_stays():
    ahead = [backup(YEAR * n, -timedelta(days=20 + n)) for n in (1, 2)]
    kept = [d.backup for d in plan(ahead, Policy(7, allow_many=True), NOW) if d.keep]
    assert kept == [ahead[0]], "the last that was written"
