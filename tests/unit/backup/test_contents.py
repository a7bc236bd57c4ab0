"""What a manifest says of a backup that was just taken."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timezone

from postgres_backup.backup.contents import Taken, manifest_of
from postgres_backup.backup.place import Place
from postgres_backup.catalog import manifest
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.job import Job
from postgres_backup.postgresql.belongings import Share
from postgres_backup.postgresql.facts import DatabaseFacts, Extension, Grant, ServerFacts
from postgres_backup.postgresql.requirements import RemoteView, Requirement, Requirements
from postgres_backup.s3.client import StoredObject
from postgres_backup.s3.upload import Part
from postgres_backup.settings import Settings
from postgres_backup.stream.inspector import Report, TableFacts

AT = datetime(2026, 1, 27, tzinfo=timezone.utc)
JOB = Job(Settings("db1", ("crm",), "u", "https://s3.example.org", "bucket", "k", "secret"))
TAKEN = Taken(
    place=Place(Layout("p"), BackupName(AT)),
    server=ServerFacts("16.3", 160003, 16, True, True, True, "/data", "7"),
    pg_dump_version="16.4",
    database=DatabaseFacts("owner", "UTF8", grants=(Grant("", "CONNECT", False, "owner"),)),
    extensions=[Extension("citext", "1.6", "public")],
    report=Report(
        {
            "public.users": TableFacts(3, 30, "a" * 64, "id"),
            "public.orders": TableFacts(4, 40, "b" * 64, "id"),
        },
        large_objects=1,
        sha256="c" * 64,
        schema_sha256="d" * 64,
        bytes=700,
    ),
    stored=StoredObject("p/x", 500, AT, "etag"),
    sha256="e" * 64,
    parts=[Part(300, "f" * 64), Part(200, "0" * 64)],
    globals={"key": "p/globals/x", "bytes": 20, "sha256": "1" * 64, "passwords": True},
    requirements=Requirements(
        "postgres",
        (Requirement("event trigger e", "superuser"), Requirement("table t", "member", "other")),
        ("s",),
        (RemoteView("public.m", ("far",)),),
    ),
    shares={"owner": Share(2, "2" * 64, 0, "")},
)


def test_it_names_the_backup_its_numbers_and_its_owner():
    made = manifest_of(JOB, TAKEN, 1.26)
    assert (made["name"], made["database"], made["server"]["name"]) == (
        "postgres-backup-2026-01-27_00-00-00.sql.gz", "crm", "db1",
    )  # fmt: skip
    assert (made["bytes"], made["dump_bytes"], made["rows"], made["seconds"]) == (500, 700, 7, 1.3)
    assert list(made["tables"]) == ["public.orders", "public.users"]
    assert made["privileges"] == [
        {"role": "", "privilege": "CONNECT", "grantable": False, "grantor": "owner"}
    ]
    assert made["extensions"] == [{"name": "citext", "version": "1.6", "schema": "public"}]
    assert (made["encryption"], made["partial"]) == (None, "")
    assert made["parts"] == [
        {"bytes": 300, "sha256": "f" * 64},
        {"bytes": 200, "sha256": "0" * 64},
    ]
    assert made["roles"] == ["postgres"]
    assert made["rights"] == [
        {"object": "event trigger e", "takes": "superuser", "role": ""},
        {"object": "table t", "takes": "member", "role": "other"},
    ]
    assert (made["subscriptions"], made["remote_views"]) == (
        ["s"], [{"view": "public.m", "servers": ["far"]}],
    )  # fmt: skip
    assert manifest.parse(manifest.dump(made), "key") == {"schema": 2} | made


def test_rights_that_were_never_changed_and_whom_it_is_encrypted_for():
    settings = dataclasses.replace(JOB.settings, age_recipients=("age1x",))
    facts = dataclasses.replace(TAKEN, database=DatabaseFacts("owner"))
    made = manifest_of(dataclasses.replace(JOB, settings=settings), facts, 1)
    assert made["privileges"] is None
    assert made["encryption"] == {"kind": "age", "recipients": ["age1x"]}
