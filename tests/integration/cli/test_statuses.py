"""The exit statuses of the contract: 2 for what was typed or set wrongly; nothing is touched."""

from __future__ import annotations

import random
import re

import pytest

from tests.integration import engine


@pytest.fixture
def crm(new_database, new_config, s3, bucket):
    """A database with a table, and its config."""
    database = new_database()
    database.execute("CREATE TABLE t AS SELECT generate_series(1, 100) AS x")
    return new_config(database, s3, bucket, **database.as_superuser)


NOBODYS = "postgres-backup-2020-01-01_00-00-00.sql.gz"
#: what is wrong in each: a name that nobody has, a value beyond reason, a file that is none
WRONG = [
    ("restore", NOBODYS),
    ("restore", "latest", "--database", "nobodys"),
    ("restore", "latest", "--identity", "/nowhere"),
    ("restore", "latest", "--identity", "/"),
    ("restore", "latest", "--identity", "/bin/true"),
    ("restore", "latest", "--tables", "nobodys"),
    ("restore", "latest", "--tables", 'un"closed'),
    ("restore", "../../etc/passwd"),
    ("restore", ""),
    ("verify", NOBODYS),
    ("verify", "x\n"),
    ("undo-restore", "nobodys"),
    ("undo-restore",),
    ("adopt", NOBODYS),
    ("adopt", "--server", "nobodys"),
    ("backup", "--database", "nobodys"),
    ("backup", "--tables", "nobodys"),
    ("backup", "--tables", "a..b..c..d"),
    ("prune", "--database", "nobodys"),
    ("list", "--database", "nobodys"),
    ("history", "--database", "nobodys"),
    ("history", "--days", "nan"),
    ("history", "--days", "-1"),
    ("history", "--days", "1e300"),
    ("history", "--days", "99999999999"),
    ("kit",),
    ("restore-kit", "nobodys", "--to", "/nowhere"),
    ("restore-kit", "latest", "--to", "/nowhere"),
    ("alert-test",),
    ("run", "--at", "99:99"),
    ("nobodys",),
    ("status", "--config", "/"),
    ("status", "--config", "/nowhere"),
    ("status", "--config", ""),
    ("status", "--config", "/bin/true"),
]


def test_what_was_typed_wrongly_ends_with_2(crm, s3_client, bucket):
    all_end_with_2(random.Random(13).sample(WRONG, 4), crm, s3_client, bucket)


@pytest.mark.gameday
def test_whatever_was_typed_wrongly_ends_with_2(crm, s3_client, bucket):
    all_end_with_2(WRONG, crm, s3_client, bucket)


def all_end_with_2(wrong, crm, s3_client, bucket) -> None:
    assert engine.run(crm.path, "backup").returncode == 0
    there = _outside_the_journal(engine.keys(s3_client, bucket))
    ended = {}
    for typed in wrong:
        done = engine.run(crm.path, *typed)
        if done.returncode != 2 or re.search("unexpectedly|Traceback", done.stderr):
            ended[typed] = (done.returncode, done.stderr[-400:])
    assert not ended, "\n".join(map(str, ended.items()))
    assert _outside_the_journal(engine.keys(s3_client, bucket)) == there


def _outside_the_journal(keys: list[str]) -> list[str]:
    """A name that was claimed stays claimed."""
    return [key for key in keys if "/journal/" not in key]


def test_a_wrong_retention_stops_what_deletes_and_nothing_else(crm, web, s3_client, bucket):
    crm.change(RETENTION_DAYS="99999999999", ALERT_URLS=f"json://127.0.0.1:{web.port}/alarms")
    night = engine.run(crm.path, "run")
    assert night.returncode == 1, "the backup was taken, and not all was done"
    assert "is in the bucket" in night.stderr
    assert "RETENTION_DAYS" in night.stderr.splitlines()[-1]
    (told,) = [request.json["title"] for request in web.requests]
    assert "could not be deleted" in told
    for typed in (("status",), ("list",), ("verify", "latest"), ("restore", "latest", "--check")):
        done = engine.run(crm.path, *typed, "--json")
        # it is an alarm, so that all is not well
        assert done.returncode == (4 if typed == ("status",) else 0), done.stderr
    assert "RETENTION_WRONG" in engine.run(crm.path, "status", "--json").stdout
    pruned = engine.run(crm.path, "prune", "--json")
    engine.failed_well(pruned, 2, "RETENTION_DAYS", "Nothing is pruned")
    assert [one["code"] for one in engine.answer(pruned)["findings"]] == ["RETENTION_WRONG"]
    crm.change(RETENTION_DAYS=7)
    assert engine.run(crm.path, "prune").returncode == 0
    assert len(web.requests) == 2, "and the alarm ends"
