"""Rows to nothing: told, with what to type, until they are back or somebody says it is meant."""

from __future__ import annotations

import dataclasses
import hashlib
from datetime import datetime, timedelta, timezone

import pytest

from postgres_backup.catalog.backup import Backup
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.catalog.retention import Policy, plan
from postgres_backup.catalog.said import WHOLE, hash_of
from postgres_backup.health import rows_gone

NOW = datetime(2026, 1, 27, 12, tzinfo=timezone.utc)


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def nights(*tables: dict[str, int], meant: tuple[str, ...] = ()) -> list[Backup]:
    """One backup a night, the first the oldest; newest first, as a catalog gives them."""
    made = []
    for ago, rows in enumerate(reversed(tables)):
        name = BackupName((NOW - timedelta(days=ago)).replace(hour=0))
        records = {t: {"rows": n, "sha256": sha256(f"{t} {n}")} for t, n in rows.items()}
        manifest = {"name": str(name), "server": {"name": "db1"}, "tables": records}
        said = frozenset(hash_of("db1", "crm", table) for table in meant)
        made.append(Backup(name, Layout("p"), 1, manifest, ours=True, candidate=True, meant=said))
    return made


def gone(*tables: dict[str, int], **more) -> list[tuple[str, int, bool]]:
    found = rows_gone.gone("db1", "crm", nights(*tables, **more), NOW)
    return [(lost.table, lost.rows, lost.there) for lost in found]


FEW = {"u": 5}


def test_twenty_thousand_rows_to_none():
    """The numbers of the field: 0 of 20,000, seen at once, with one predecessor."""
    backups = nights(FEW | {"t": 20_000}, FEW | {"t": 0})
    (found,) = rows_gone.findings_of("crm", rows_gone.gone("db1", "crm", backups, NOW))
    assert (found["code"], found["database"]) == ("ROWS_GONE", "crm")
    last = backups[1].name
    assert f"t 20,000 -> 0, last in {last}" in found["message"]
    assert f"restore {last} --database crm --tables t" in found["message"]
    assert "backup --database crm --emptied t" in found["message"]


def test_a_database_without_any_row():
    assert gone({"t": 3}, {"t": 0}) == [(WHOLE, 3, True)]
    assert gone({"t": 3}, {}) == [(WHOLE, 3, True)]
    backups = nights({"t": 20_000}, {"t": 0})
    (found,) = rows_gone.findings_of("crm", rows_gone.gone("db1", "crm", backups, NOW))
    assert "the whole database 20,000 -> 0" in found["message"]
    assert f"restore {backups[1].name} --database crm." in found["message"]
    assert gone({}, {"t": 0}) == []


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([99, 0], []),
        ([100, 0], [("t", 100, True)]),
        ([100, 1], []),
        ([100, 0, 0, 0], [("t", 100, True)]),  # every night until it is over
        ([100, 0, 7], []),
        ([500, 5, 0], []),  # the trend's business
        ([100, 0, 100, 0], [("t", 100, True)]),
        ([100, 0, 100, 0, 100, 0], []),  # by now it is what it does
        ([100], []),
    ],
)
def test_a_table_by_its_nights(rows, expected):
    assert gone(*(FEW | {"t": count} for count in rows)) == expected


def test_a_table_that_is_gone_altogether():
    assert gone(FEW | {"t": 100}, FEW) == [("t", 100, False)]
    renamed = nights(FEW | {"t": 100}, FEW | {"other": 100})
    renamed[0].manifest["tables"]["other"]["sha256"] = sha256("t 100")
    assert rows_gone.gone("db1", "crm", renamed, NOW) == []
    assert gone(FEW | {"log_01": 900, "log_02": 900}, FEW | {"log_02": 900, "log_03": 900}) == []


def test_what_is_meant_is_told_no_more():
    assert gone(FEW | {"t": 100}, FEW | {"t": 0}, meant=("t",)) == []
    assert gone(FEW | {"t": 100}, FEW | {"t": 0}, meant=("u",)) == [("t", 100, True)]
    lost = rows_gone.gone("db1", "crm", nights(FEW | {"public.t": 100}, FEW), NOW)
    assert rows_gone.named(lost, ["t"]) == (["public.t"], [])
    assert rows_gone.named(lost, ["all"]) == (["public.t"], [])
    assert rows_gone.named(lost, ["u"]) == ([], ["public.u"])


def test_the_last_backup_that_has_the_rows_stays():
    backups = nights(*[FEW | {"t": 20_000}] * 3, *[FEW | {"t": 0}] * 20)
    kept = {
        decision.backup.name: decision.reason
        for decision in plan(
            backups,
            Policy(7, allow_many=True),
            NOW,
            rows_gone.holding("db1", "crm", backups, NOW),
        )
        if decision.keep and NOW - decision.backup.taken_at > timedelta(days=8)
    }
    assert kept == {backups[20].name: "the last backup that has the rows of t"}


def passed_over(backups: list[Backup], *places: int) -> list[Backup]:
    """Nobody vouches for those, and for the others somebody does."""
    return [
        dataclasses.replace(backup, passed_over=place in places)
        for place, backup in enumerate(backups)
    ]


def test_rows_that_were_gone_before_the_server_signed_are_not_forgotten():
    """The only backup that has them is of before, and stays."""
    rows, none = FEW | {"t": 100}, FEW | {"t": 0}
    backups = passed_over(nights(rows, none, none), 1, 2)
    (lost,) = rows_gone.gone("db1", "crm", backups, NOW)
    assert (lost.table, lost.last) == ("t", backups[2])
    held = rows_gone.holding("db1", "crm", backups, NOW)
    assert held(backups[2]) == "the last backup that has the rows of t"
    # nor does one that somebody puts there tell another story of what signed ones know
    backups = passed_over(nights(rows, rows, none, rows), 0, 2)
    (lost,) = rows_gone.gone("db1", "crm", backups, NOW)
    assert lost.last == backups[3]
