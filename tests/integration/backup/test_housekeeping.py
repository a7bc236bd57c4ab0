"""Whatever the store does not do beside a backup, the backup is taken, and that is told."""

from __future__ import annotations

import pytest

from postgres_backup.backup import database as room
from postgres_backup.backup.database import create_backup
from postgres_backup.health import alarms
from postgres_backup.job import Job
from tests.integration import engine
from tests.services.proxy import FaultProxy

ALWAYS = {"times": 10_000}
DENIED = {**ALWAYS, "status": 403, "code": "AccessDenied"}
SWEEP = ("GET", "?uploads")
#: what the store does not do, and the findings that tell of it
FAULTS = {
    "no sight of others": (
        [("status", "GET", "%2Fjournal%2F", DENIED), ("html", *SWEEP, ALWAYS)],
        ("NAME_NOT_CLAIMED", "UPLOADS_NOT_SWEPT"),
    ),
    "no HEAD at all": (
        [("status", "HEAD", "", ALWAYS | {"status": 405, "code": "MethodNotAllowed"})],
        ("HEAD_REFUSED",),
    ),
    "no roles": ([("status", "PUT", "/globals/", DENIED)], ("GLOBALS_NOT_SAVED",)),
    # of what is not there yet, such a key is told that it may not know
    "no listing": (
        [
            ("status", "GET", "list-type=2", DENIED),
            ("status", "HEAD", "/postgres-backup-", DENIED | {"times": 2}),
            ("status", "GET", "/postgres-backup-", DENIED | {"times": 2}),
        ],
        ("LISTING_REFUSED", "NAME_NOT_CLAIMED", "TREND_NOT_KNOWN"),
    ),
}


@pytest.fixture
def crm(new_database, new_config, s3, bucket):
    database = new_database()
    database.execute("CREATE TABLE t AS SELECT generate_series(1, 100) AS x")
    user, password = database.server.superuser, database.server.password
    return new_config(database, s3, bucket, DB_USER=user, DB_PASSWORD=password)


def require_complete(client, bucket, taken) -> None:
    """The backup's object and manifest are there, and agree."""
    stored = client.head_object(Bucket=bucket, Key=taken["key"])
    manifest = engine.manifest_of(client, bucket, taken)
    assert stored["ContentLength"] == manifest["bytes"] == taken["bytes"]
    assert manifest["sha256"] == taken["sha256"]


def test_nothing_beside_a_backup_ends_it(crm, s3, s3_client, bucket):
    """Of what a sweep meets, tests/integration/s3/test_unfinished.py has more."""
    for what, (planned, codes) in FAULTS.items():
        with FaultProxy(s3.endpoint_url) as between:
            settings = crm.change(S3_ENDPOINT_URL=between.endpoint_url)
            faults = [
                between.plan(kind, method, contains, **options)
                for kind, method, contains, options in planned
            ]
            taken = create_backup(Job(settings))
        assert all(fault.done for fault in faults), what
        assert sorted({found["code"] for found in taken["findings"]}) == sorted(codes), what
        require_complete(s3_client, bucket, taken)


def test_a_night_with_a_key_that_may_little_is_a_good_one(crm, s3, s3_client, bucket):
    """And the third is an alarm, which the first without trouble ends."""
    with FaultProxy(s3.endpoint_url) as between:
        crm.change(S3_ENDPOINT_URL=between.endpoint_url)
        between.plan("status", *SWEEP, **DENIED)
        between.plan("status", "PUT", "/journal/", **DENIED)
        between.plan("status", "PUT", ".sig", **DENIED)
        between.plan("status", "HEAD", **DENIED)
        done = engine.run(crm.path, "run", "--json")
        assert done.returncode == 0, done.stderr
        assert "UPLOADS_NOT_SWEPT: Failed to list the unfinished uploads" in done.stderr
        [night] = engine.answer(done)["databases"].values()
        told = {found["code"] for found in night["backup"]["findings"]}
        wanted = {"UPLOADS_NOT_SWEPT", "NAME_NOT_CLAIMED", "JOURNAL_NOT_WRITTEN", "NOT_SIGNED"}
        assert told == wanted | {"HEAD_REFUSED"}
        require_complete(s3_client, bucket, night["backup"])
        assert alarms.open_alarms(crm.settings) == []
        for _ in range(2):
            create_backup(Job(crm.settings))
    [alarm] = alarms.open_alarms(crm.settings)
    assert alarm["code"] == "HOUSEKEEPING_REFUSED"
    assert "NOT_SIGNED in 3 backups in a row: Failed to write " in alarm["message"]
    create_backup(Job(crm.change(S3_ENDPOINT_URL=s3.endpoint_url)))
    assert alarms.open_alarms(crm.settings) == []


def test_two_servers_without_notes_do_not_overwrite_each_other(
    crm, s3, s3_client, bucket, monkeypatch
):
    """The other one's object appears while ours is dumped, under the name that both chose."""
    others = []

    def overtaken(job, dump, upload, begun):
        pump(job, dump, upload, begun)
        if not others:
            roles = upload.key.replace("/postgres-backup-", "/globals/postgres-backup-")
            for key in (upload.key, roles):
                others.append(key)
                s3_client.put_object(Bucket=bucket, Key=key, Body=b"of another server")

    pump = room.pump
    monkeypatch.setattr(room, "pump", overtaken)
    with FaultProxy(s3.endpoint_url) as between:
        between.plan("status", "PUT", "/journal/", **DENIED)
        taken = create_backup(Job(crm.change(S3_ENDPOINT_URL=between.endpoint_url)))
    assert taken["key"] not in others
    require_complete(s3_client, bucket, taken)
    for key in others:
        stored = s3_client.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert stored == b"of another server"
