"""Old dumps as scripts and other tools left them: each is restored, or called by its name with what
to type, and what is typed makes it one that is restored.
"""

from __future__ import annotations

import gzip
import re
import subprocess
from pathlib import Path

import pytest

from postgres_backup.errors import BadBackupError
from postgres_backup.job import Job
from postgres_backup.nightly.adopt import adopt_backups
from postgres_backup.restore.database import restore_database
from postgres_backup.restore.preflight import make_plan
from postgres_backup.verify.verify import verify_backup
from tests.integration.restore.test_scripts import dumped
from tests.integration.restoring import databases_of

KEY = "postgres-backup/postgres-backup-2020-01-{:02}_00-00-00{}"
#: as an owner cannot make it: plpgsql is a superuser's; and all of it is there, or is not there
OLD = b"""\xef\xbb\xbf--
-- PostgreSQL database dump
--

-- Dumped from database version 9.6.24
-- Dumped by pg_dump version 9.6.24

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

SELECT pg_catalog.lo_unlink('62345');
DROP TABLE public.a;
DROP EXTENSION plpgsql;
CREATE SCHEMA public;


COMMENT ON SCHEMA public IS 'standard public schema';

CREATE EXTENSION IF NOT EXISTS plpgsql WITH SCHEMA pg_catalog;


COMMENT ON EXTENSION plpgsql IS 'PL/pgSQL procedural language';


SET search_path = public, pg_catalog;

SET default_with_oids = false;

CREATE TABLE a (
    id integer NOT NULL,
    n text
);

SELECT pg_catalog.lo_create('62345');

COPY a (id, n) FROM stdin;
1	eins
2	zwei
\\.

BEGIN;

SELECT pg_catalog.lo_open('62345', 131072);
SELECT pg_catalog.lowrite(0, '\\x00ff');
SELECT pg_catalog.lo_close(0);

COMMIT;

--
-- PostgreSQL database dump complete
--

"""


def put(client, bucket: str, day: int, body: bytes, suffix: str = ".sql.gz") -> str:
    key = KEY.format(day, suffix)
    client.put_object(Bucket=bucket, Key=key, Body=body)
    return key.rpartition("/")[2]


@pytest.mark.parametrize("in_place", [False, True], ids=["beside", "in place"])
def test_what_every_database_has_is_no_hindrance(database, config, s3_client, bucket, in_place):
    """Restored by a plain owner: the schema public is there, plpgsql another's, the large object
    not there to be dropped, and a mark of the byte order stands first.
    """
    name = put(s3_client, bucket, 1, gzip.compress(OLD))
    verify_backup(Job(config.settings), name)
    result = restore_database(Job(config.settings, trust_unsigned=True), name, in_place)
    assert result["rows"] == 2
    assert database.execute("SELECT n, lo_get(62345) FROM a ORDER BY id") == [
        ("eins", b"\0\xff"),
        ("zwei", b"\0\xff"),
    ]
    comment = "SELECT obj_description(oid) FROM pg_extension WHERE extname = 'plpgsql'"
    assert database.execute(comment) == [("PL/pgSQL procedural language",)]


def test_archives_and_others_under_any_name(database, config, s3_client, bucket):
    server = database.server
    database.execute("CREATE TABLE a (id integer); INSERT INTO a VALUES (1), (2)")
    database.execute(f'ALTER TABLE a OWNER TO "{database.owner}"')
    custom, tar = (dumped(server, database.name, form) for form in ("-Fc", "-Ft"))
    plain = dumped(server, database.name)
    restored = {
        put(s3_client, bucket, 1, gzip.compress(custom)),
        put(s3_client, bucket, 2, tar),
    }
    others = {
        put(s3_client, bucket, 3, plain),
        put(s3_client, bucket, 4, gzip.compress(plain), ".dump"),
        put(s3_client, bucket, 5, gzip.compress(gzip.compress(tar)), ".sql.zst"),
    }
    cut = put(s3_client, bucket, 6, gzip.compress(custom[: len(custom) - 20]))
    adopted = adopt_backups(Job(config.settings))
    assert set(adopted["adopted"]) == restored | others
    assert [line["backup"] for line in adopted["refused"]] == [cut]
    assert "pg_restore failed" in adopted["refused"][0]["reason"]
    assert {found["code"] for found in adopted["findings"]} == {"ARCHIVE_DAMAGED"}
    # an archive names its database, also within a tar
    assert {line["backup"] for line in adopted["compared"]} == {
        name for name in others if not name.endswith(".sql.zst")
    }
    for name in restored:
        database.execute("TRUNCATE a")
        restore_database(Job(config.settings), name)
        assert database.execute("SELECT count(*) FROM a") == [(2,)]


def hint_run(hint: str, body: bytes, folder: Path, database: str) -> bytes:
    """What the command in a hint makes of an object."""
    folder.mkdir()
    command = re.search(r"gunzip < FILE \|.*?(?:> NEW|'(?=$))", hint)[0].replace("NAME", database)
    (folder / "FILE").write_bytes(body)
    subprocess.run(["sh", "-ec", command], cwd=folder, check=True)
    new = folder / "NEW"
    return new.read_bytes() if new.exists() else (folder / "dump-1.sql").read_bytes()


def test_what_is_refused_says_what_to_type_and_that_helps(
    database, config, s3_client, bucket, tmp_path
):
    """By verify, adopt, a plan and both restores, and never as a dump that was cut."""
    server, owner = database.server, database.owner
    database.execute("CREATE TABLE a (id integer); INSERT INTO a VALUES (1), (2)")
    database.execute(f'ALTER TABLE a OWNER TO "{owner}"')
    plain = dumped(server, database.name)
    everything = subprocess.run(
        [server.bin_dir / "pg_dumpall"], env=server.environment(), capture_output=True, check=True
    ).stdout
    two = plain + plain.replace(b"public.a", b"public.of_another_database")
    cases = {
        "LINES_BEFORE_DUMP": b"pg_dump: warning: circular foreign-key constraints:\n" + plain,
        "TRAILER_NOT_LAST": plain + b"\nreal\t0m1.234s\nit's done\n",
        "SEVERAL_DUMPS": two,
        "ROWS_ALONE": dumped(server, database.name, "--data-only"),
        "ROWS_ALONE by INSERT": dumped(server, database.name, "--data-only", "--inserts"),
        "CLUSTER_DUMP": everything,
    }
    before = databases_of(server)
    names = {
        code: put(s3_client, bucket, day, gzip.compress(dump), ".sql.gz")
        for day, (code, dump) in enumerate(cases.items(), 1)
    }
    job = Job(config.settings, trust_unsigned=True)
    refused = {line["backup"]: line["reason"] for line in adopt_backups(job)["refused"]}
    for case, name in names.items():
        code = case.partition(" ")[0]
        assert "gunzip < FILE |" in refused[name]
        attempts = [lambda name=name: verify_backup(job, name)]
        attempts.append(lambda name=name: restore_database(job, name))
        if code == "SEVERAL_DUMPS":
            attempts.append(lambda name=name: restore_database(job, name, True))
        if code == "LINES_BEFORE_DUMP":
            attempts.append(lambda name=name: make_plan(job, name))
        for attempt in attempts:
            with pytest.raises(BadBackupError) as caught:
                attempt()
            assert code in {found["code"] for found in caught.value.findings}
            assert "cut" not in caught.value.message
        if "NEW" not in caught.value.hint and code != "SEVERAL_DUMPS":
            continue
        made = hint_run(
            caught.value.hint, gzip.compress(cases[case]), tmp_path / code, database.name
        )
        s3_client.put_object(Bucket=bucket, Key=f"postgres-backup/{name}", Body=made)
        assert verify_backup(job, name)["rows"] == 2
    assert databases_of(server) == before
    # the one that took the longest way
    database.execute("TRUNCATE a")
    restore_database(job, names["CLUSTER_DUMP"])
    assert database.execute("SELECT count(*) FROM a") == [(2,)]
