"""What a restored database is going to be: as the manifest says, or the live one, or the server."""

from __future__ import annotations

import dataclasses

from postgres_backup.backup.database import create_backup
from postgres_backup.catalog.backups import Catalog
from postgres_backup.catalog.manifest import Manifest
from postgres_backup.job import Job
from postgres_backup.postgresql.connection import connect_maintenance
from postgres_backup.postgresql.facts import DatabaseFacts, database_facts
from postgres_backup.restore.wanted import wanted_facts
from tests.integration.restoring import run_sql


def test_a_manifest_says_it_whole(database, config):
    """What the backup noted is what the next one becomes; where it lies is today's."""
    run_sql(
        database.server,
        "postgres",
        "ALTER DATABASE {name} SET work_mem TO '7MB'",
        "GRANT CREATE ON DATABASE {name} TO pg_monitor WITH GRANT OPTION",
        "COMMENT ON DATABASE {name} IS 'ours'",
        "ALTER DATABASE {name} CONNECTION LIMIT 5",
        name=database.name,
    )
    job = Job(config.settings)
    create_backup(job)
    backup = Catalog(job.settings, job.store, job.database).resolve("latest")
    assert backup.manifest is not None
    with connect_maintenance(job.settings, job.database) as connection:
        live = database_facts(connection, job.database)
        assert live is not None
        wanted, findings = wanted_facts(connection, job.settings, backup.manifest, live)
        only_content = {"database_bytes": None, "roles": (), "tablespace": None}
        assert wanted == dataclasses.replace(live, **only_content)
        assert findings == []

        elsewhere: Manifest = {**backup.manifest, "tablespace": "no_such_place"}
        wanted, [finding] = wanted_facts(connection, job.settings, elsewhere, None)
        assert (wanted.tablespace, finding["code"]) == (None, "TABLESPACE_MISSING")


def test_without_one_it_is_as_the_live_database_or_as_the_server_makes_them(database, config):
    known = Manifest(
        name="X", database="", server={}, bytes=1, dump_bytes=0, rows=0, sha256="", tables={}
    )
    with connect_maintenance(config.settings, database.name) as connection:
        live = database_facts(connection, database.name)
        assert live is not None
        wanted, _ = wanted_facts(connection, config.settings, known, live)
        assert wanted == dataclasses.replace(live, tablespace=None)
        wanted, findings = wanted_facts(connection, config.settings, known, None)
    assert (wanted, findings) == (DatabaseFacts(database.owner), [])
