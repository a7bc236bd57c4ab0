"""What results say to a person: every fact that matters, and nothing that is not so."""

from __future__ import annotations

import pytest

from postgres_backup.backup import database as backup
from postgres_backup.backup import kit, prune
from postgres_backup.health import alarms, publish, server_facts
from postgres_backup.nightly import adopt, watch
from postgres_backup.page import report
from postgres_backup.postgresql import server
from postgres_backup.restore import database, steps, tables
from postgres_backup.restore import kit as restore_kit
from postgres_backup.s3 import bucket

NAME = "postgres-backup-2026-01-27_00-00-00.sql.gz"
KEPT = "crm_before_2026-01-27_10-00-00"
FINDINGS = [{"code": "UNPROVEN", "message": "it has no manifest"}]
PLAN = {
    "backup": NAME,
    "database": "crm",
    "bytes": 83_500,
    "rows": 7000,
    "proven": True,
    "replaces": True,
    "in_place": False,
    "kept_database": KEPT,
    "missing_roles": ["app", "reader"],
    "sessions": 3,
    "needed_bytes": 12_000_000,
    "free_bytes": 5_000_000_000,
    "findings": FINDINGS,
}


def test_a_backup_that_would_be_made_names_its_place():
    result = {"database": "crm", "key": f"postgres-backup/{NAME}", "findings": []}
    assert backup.lines(result) == [f"crm: postgres-backup/{NAME} would be made"]


def test_a_backup():
    facts = {"bytes": 83_500, "dump_bytes": 277_900, "rows": 7000, "tables": 2, "seconds": 1.4}
    assert backup.lines({"database": "crm", "backup": NAME, "findings": FINDINGS} | facts) == [
        f"crm: {NAME} is in the bucket: 7000 rows in 2 tables, 277.9 kB as 83.5 kB, 1.4 s",
        "it has no manifest",
    ]


def test_a_kit_and_its_way_back():
    facts = {"kit": "k.tar.gz", "files": 12, "file_bytes": 2000, "findings": FINDINGS}
    assert kit.lines(facts) == [
        "kit: k.tar.gz would be made: 12 files, 2.0 kB",
        "it has no manifest",
    ]
    facts |= {"bytes": 900, "seconds": 0.3, "unpacked_bytes": 53_000}
    assert kit.lines(facts)[0] == "kit: k.tar.gz is in the bucket: 12 files, 900 B, 0.3 s"
    assert restore_kit.lines(facts)[0] == "kit: k.tar.gz is back: 12 files, 900 B, 0.3 s"
    assert restore_kit.lines(facts, check=True) == [
        "kit: k.tar.gz is whole, and its files would come back: 12 files, 900 B, 0.3 s",
        "It takes 53.0 kB of the disk",
        "it has no manifest",
    ]
    assert ": files, 900 B" in restore_kit.lines(facts | {"files": None})[0]
    assert kit.lines(facts)[1:] == restore_kit.lines(facts)[1:] == ["it has no manifest"]


@pytest.mark.parametrize(
    ("check", "delete", "drop"),
    [(True, "would delete", "would drop"), (False, "deleted", "dropped")],
)
def test_a_prune_names_what_goes_and_what_stays_and_why(check, delete, drop):
    result = {
        "database": "crm",
        "deleted": [{"backup": "old", "reason": "older than 7 days"}],
        "kept": [{"backup": "new", "reason": "the newest"}],
        "partial_kept": [],
        "partial_deleted": [],
        "recovered_kept": [{"backup": "late", "reason": "not older than 7 days"}],
        "recovered_deleted": [{"backup": "early", "reason": "older than 7 days"}],
        "replaced_deleted": [{"database": "crm_before_a", "reason": "8 days"}],
        "replaced_kept": [{"database": "crm_before_b", "reason": "1 day"}],
        "every_second": ["every second: kept"],
        "findings": FINDINGS,
    }
    assert prune.lines(result, check) == [
        f"crm: kept 1 backups, {delete} 1",
        f"{delete}  old  older than 7 days",
        "kept     new  the newest",
        f"{delete}  recovered early  older than 7 days",
        "kept     recovered late  not older than 7 days",
        f"{drop}  database crm_before_a  8 days",
        "kept     database crm_before_b  1 day",
        "every second: kept",
        "it has no manifest",
    ]


def test_a_restore_that_is_planned():
    assert database.lines(PLAN) == [
        f"crm would become what it was in {NAME} (7000 rows, 83.5 kB, proven)",
        "The database as it is would be kept as crm_before_<time>",
        "Room for a second copy: 12.0 MB needed, 5.0 GB free",
        "Roles that are made first: app, reader",
        "Connections that the swap closes: 3",
        "it has no manifest",
    ]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rows": None, "proven": False}, "(an unknown number of rows, 83.5 kB, not yet read"),
        ({"in_place": True}, "In place, in one transaction: nothing is kept to go back to"),
        ({"replaces": False, "kept_database": None}, "There is no database crm now"),
    ],
)
def test_a_plan_says_what_is_different_this_time(changed, said):
    assert said in "\n".join(database.lines(PLAN | changed))


def test_a_plan_is_silent_about_what_nobody_knows_and_what_is_not_there():
    made = PLAN | {"free_bytes": None, "missing_roles": [], "sessions": 0, "findings": []}
    assert len(database.lines(made)) == 2


def test_a_restore_that_was_done():
    result = PLAN | {"seconds": 2.4, "downtime_seconds": 0.171}
    done = f"crm: restored from {NAME}: 7000 rows, 2.4 s, unreachable for 0.17 s"
    assert database.lines(result) == [
        done + f"; the database as it was is kept as {KEPT}",
        "Undo: postgres-backup undo-restore",
        "it has no manifest",
    ]
    assert database.lines(result | {"kept_database": None}) == [
        done,
        "it has no manifest",
    ]


def test_an_undo():
    result = {"database": "crm", "restored_database": KEPT, "kept_database": "b", "findings": []}
    planned = f"crm: {KEPT} would be live again; the one it replaces would be kept as b"
    done = f"crm: {KEPT} is live again, unreachable for 0.20 s; the one it replaced is kept as b"
    assert database.undo_lines(result) == [planned]
    assert database.undo_lines(result | {"downtime_seconds": 0.2}) == [done]
    assert database.undo_lines(result | {"kept_database": None}) == [
        f"crm: {KEPT} would be live again"
    ]


def test_tables():
    one = {"table": "public.users", "rows": 9, "inserted": 1, "updated": 2, "deleted": 3}
    result = {
        "database": "crm",
        "backup": NAME,
        "rows": 9,
        "seconds": 1.0,
        "tables": [one | {"created": True}],
        "kept_database": "crm_rows_2026-01-27_10-00-00",
        "passed_tables": 0,
        "passed_rows": 0,
        "unread_tables": 0,
        "read_bytes": 5_000_000,
        "bytes": 80_000_000,
        "findings": FINDINGS,
    }
    assert tables.lines(result) == [
        f"crm: public.users are as in {NAME}: 9 rows, 1.0 s",
        "public.users: 9 rows: 1 inserted, 2 set back, 3 later ones deleted, the table created",
        "How the rows were is kept in crm_rows_2026-01-27_10-00-00",
        "Undo: postgres-backup undo-restore",
        "it has no manifest",
    ]
    undone = {
        "database": "crm",
        "restored_database": "crm_rows_2026-01-27_10-00-00",
        "kept_database": None,
        "tables": [one],
        "dropped": ["public.log"],
        "findings": [],
    }
    assert database.undo_lines(undone) == [
        "crm: what is kept in crm_rows_2026-01-27_10-00-00 is taken back",
        "public.users: 1 rows inserted, 2 set back, 3 deleted",
        "public.log: is gone again; restore --tables brings it back",
    ]
    assert steps.lines(result, check=True)[0].startswith("crm: public.users would be as in")
    assert tables.lines(result | {"passed_tables": 2, "passed_rows": 70})[-2] == (
        "2 other tables (70 rows) of the backup were read and proved, and not loaded"
    )
    assert tables.lines(result | {"unread_tables": 3})[-2] == (
        "3 large tables were not read: 5.0 MB of 80.0 MB were needed"
    )


def test_the_steps_of_a_restore():
    about = {"database": "crm", "backup": NAME, "findings": FINDINGS}
    loaded = PLAN | {"side_database": "crm_side", "rows": 9, "seconds": 1.0}
    assert steps.lines(loaded, "load") == [
        f"crm: {NAME} stands beside it, compared: 9 rows, 1.0 s",
        "it has no manifest",
    ]
    assert steps.lines(PLAN | {"side_database": None}, "load") == database.lines(PLAN)
    swapped = about | {"kept_database": KEPT, "downtime_seconds": 0.2}
    assert steps.lines(swapped, "swap")[0] == (
        f"crm: is what it was in {NAME}, unreachable for 0.20 s"
    )
    assert f"it would be kept as {KEPT}" in steps.lines(swapped, "swap", check=True)[0]
    gone = {"database": "crm", "side_database": "crm_side", "findings": []}
    assert steps.lines(gone, "discard") == ["crm: removed crm_side"]
    assert steps.lines(gone, "discard", check=True) == ["crm: would remove crm_side"]
    assert steps.lines(gone | {"side_database": None}, "discard") == []
    assert steps.lines(swapped, "note") == ["it has no manifest"]


def test_the_comparison_after_a_restore():
    result = {"kept_database": KEPT, "findings": []}
    differences = [
        {"table": "public.users", "kept_rows": 10, "live_rows": 12},
        {"table": "public.later", "kept_rows": 3, "live_rows": None},
    ]
    assert steps.lines(result | {"row_differences": differences}, "compare") == [
        f"What was written after the backup is in {KEPT}.",
        "Tables with another number of rows (until now -> now):",
        "  public.users  10 -> 12",
        "  public.later  3 -> no table",
    ]
    assert steps.lines(result | {"row_differences": []}, "compare") == [
        f"Every table has as many rows as in {KEPT}."
    ]


def test_an_adoption():
    result = {
        "database": "crm",
        "adopted": [NAME],
        "refused": [{"backup": "bad", "reason": "it is cut"}],
        "compared": [],
        "restored": "",
        "offered": [],
    }
    assert adopt.lines(result) == [f"adopted  {NAME}, read", "refused  bad: it is cut"]
    loaded = adopt.lines(result | {"restored": NAME})
    assert loaded[0] == f"adopted  {NAME}, restored"
    beside = {"backup": NAME, "tables": 3, "live": 2, "missing": ["public.old"]}
    assert adopt.lines(result | {"compared": [beside]})[0] == (
        f"adopted  {NAME}, read: 2 of its 3 tables are in crm; not there: public.old"
    )
    offered = adopt.lines(result | {"offered": [{"backup": NAME, "bytes": 2048, "ours": True}]})
    assert offered[1] == f"offered  {NAME}  2.0 kB, of this server, it says"
    assert "postgres-backup adopt --yes" in offered[-1]
    assert adopt.lines(result, check=True)[0] == f"would be adopted  {NAME}, read"
    nothing = result | {"adopted": [], "refused": []}
    assert adopt.lines(nothing) == ["Nothing waits for adoption."]


def test_a_look_around():
    trouble = {"code": "STORE_FAILS", "message": "it is silent", "since": "today"}
    assert watch.lines({"troubles": [trouble]}) == ["STORE_FAILS: it is silent (since today)"]
    assert watch.lines({"troubles": [], "healthy": True, "why": ["worth a look"]}) == []
    silent = {"troubles": [], "healthy": False, "why": ["the backup failed", "and more"]}
    assert watch.lines(silent) == ["the backup failed"]


def test_a_test_of_the_alarms():
    assert alarms.lines({"sent": 2, "addresses": ["json", "mailto"]}) == [
        "told: json",
        "told: mailto",
    ]
    assert alarms.lines({"sent": 0, "addresses": ["json"]}) == ["would be told: json"]
    assert alarms.lines({"sent": 0, "addresses": []}) == ["No address is new."]


def test_a_page_and_its_link():
    result = {"key": "postgres-backup/report/report.html", "ends_at": "tomorrow"}
    assert publish.lines(result) == [
        "It would be put into the bucket as postgres-backup/report/report.html"
    ]
    assert publish.lines(result | {"link": "https://x"}) == [
        "Whoever has this link can read the page, without a key, until tomorrow:",
        "https://x",
    ]


def test_a_report():
    result = {
        "changed": True,
        "file": "r.html",
        "bytes": 1,
        "verdict": "All is well",
        "states": [],
    }
    assert report.lines(result) == ["All is well", "The page: r.html"]
    assert report.lines(result, check=True) == ["All is well", "The page would be r.html"]


def test_a_bucket_that_is_made_ready():
    result = {"bucket": "b", "created": True, "private": "set", "findings": FINDINGS}
    done = result | {"unfinished_uploads": "unchanged"}
    assert bucket.lines(done) == [
        "The bucket b was created, closed to the public",
        "it has no manifest",
    ]
    assert bucket.lines(done, check=True)[0].startswith("The bucket b would be created")
    ready = done | {"created": False, "private": "unsupported", "findings": []}
    assert bucket.lines(ready) == ["The bucket b is as it should be"]


def test_a_server_that_is_asked_for_the_page():
    facts = {"server": "db1", "next_run": "tonight", "state": "unwell", "findings": FINDINGS}
    assert server_facts.lines(facts) == [
        "db1: NOT WELL; next run tonight",
        "  UNPROVEN: it has no manifest",
    ]


@pytest.mark.parametrize(("client", "said"), [("16.3", "pg_dump 16.3"), ("", "pg_dump missing")])
def test_a_server_of_postgresql(client, said):
    answer = {"version": "16.3", "client_version": client, "findings": FINDINGS}
    told = [f"{found['code']}: {found['message']}" for found in FINDINGS]
    assert server.lines(answer)[1:] == told
    assert server.lines(answer | {"findings": []}) == [f"PostgreSQL 16.3, {said}"]
