"""A listing for a person, on a terminal of any width."""

from __future__ import annotations

import pytest

from postgres_backup.health import listing
from postgres_backup.text import wrapped


def listed(number: int) -> dict:
    return {
        "backup": f"postgres-backup-2026-01-{number:02}_00-00-00.sql.gz",
        "database": "crm",
        "age_hours": 9.0,
        "bytes": 419_300,
        "rows": 20_000,
        "state": "proven",
        "signature": "trusted",
        "proof": {"kind": "restored", "at": "2026-01-27T00:00:00Z"},
        "checked_at": "",
        "keep": number > 2,
        "reason": "not older than 7 days" if number > 2 else "older than 7 days, and no other",
    }


def test_a_list_is_a_table_where_it_fits_and_two_lines_a_backup_where_not():
    backups = [listed(3), listed(1)]
    whole = listing.table(backups)
    assert len(whole) == 3
    assert listing.table(backups, 200) == whole
    narrow = listing.table(backups, 80)
    assert max(len(piece) for line in narrow for piece in wrapped(line, 80)) <= 80
    assert [line.split()[0] for line in narrow] == [
        "BACKUP",
        "postgres-backup-2026-01-03_00-00-00.sql.gz",
        "proven",
        "postgres-backup-2026-01-01_00-00-00.sql.gz",
        "proven",
    ]
    assert narrow[2] == "  proven (restored on 2026-01-27); stays: not older than 7 days"
    assert narrow[4].endswith("; goes at the next prune: older than 7 days, and no other")


@pytest.mark.parametrize(
    ("change", "columns", "first", "second"),
    [
        ({}, 80, "00.sql.gz  crm       9.0 h  419.3 kB  20,000", "  proven ("),
        # encrypted, as Ansible shows it
        ({"suffix": ".age"}, 78, ".sql.gz.age crm      9.0 h 419.3 kB 20,000", "  proven ("),
        (
            {"database": "crm_archive_2019"},
            78,
            "  crm_archive_2019  9.0 h  419.3 kB",
            "  20,000 rows; proven (",
        ),
    ],
)
def test_a_list_is_made_narrower_step_by_step(change, columns, first, second):
    line = listed(3)
    line["backup"] += change.pop("suffix", "")
    head, *found = listing.table([line | change], columns)
    assert found[0].endswith(first)
    assert found[1].startswith(second)
    assert max(map(len, (head, *found))) <= columns


def test_a_listing_says_how_many_have_no_owner():
    found = {"backups": [], "waiting": 2, "every_second": []}
    assert listing.lines(found) == [
        "There are no backups yet.",
        "2 of these nobody vouches for: `postgres-backup adopt` takes them over, or says why not",
    ]
    owner = {"server": "db1", "database": "crm", "backups": 2, "newest": "the newest"}
    told = listing.lines({"backups": [], "waiting": 0, "owners": [owner], "every_second": []})
    assert told[0].startswith("server db1, database crm: 2 backups")
