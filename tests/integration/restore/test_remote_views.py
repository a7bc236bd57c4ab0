"""Materialized views over a foreign server that is gone are left empty and named; all the rest
comes back.
"""

from __future__ import annotations

import pytest
from psycopg import sql

from postgres_backup.backup.database import create_backup
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database
from tests.integration.restoring import run_sql


@pytest.mark.parametrize("postgres", [15], indirect=True)  # its packages bring postgres_fdw
def test_a_foreign_server_that_is_gone(new_database, new_config, s3, bucket):
    database, far = new_database(), new_database()
    server, name = database.server, database.name
    config = new_config(database, s3, bucket)
    settings = config.change(**database.as_superuser)
    options = sql.SQL(
        "CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host {}, port {}, dbname {});"
        "CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user {}, password {})"
    ).format(server.host, str(server.port), far.name, far.owner, far.password)
    run_sql(server, far.name, "CREATE TABLE r AS SELECT 1 AS i; GRANT SELECT ON r TO PUBLIC")
    run_sql(server, name, "CREATE EXTENSION postgres_fdw")
    server.execute(options, name)
    run_sql(
        server,
        name,
        "IMPORT FOREIGN SCHEMA public LIMIT TO (r) FROM SERVER far INTO public",
        "CREATE VIEW v AS SELECT * FROM r",
        "CREATE MATERIALIZED VIEW m AS SELECT * FROM v",
        "CREATE MATERIALIZED VIEW n AS SELECT * FROM m",
        "CREATE MATERIALIZED VIEW near AS SELECT 2 AS i",
    )
    create_backup(Job(settings))

    planned = restore_database(Job(settings, check=True), "latest")
    [known] = [one for one in planned["findings"] if one["code"] == "VIEW_READS_REMOTE"]
    assert known["message"].endswith("public.m (far), public.n (far)")
    restored = restore_database(Job(settings), "latest")
    assert {one["code"] for one in restored["findings"]} == {"VIEW_READS_REMOTE"}
    assert server.execute("SELECT * FROM m", name) == [(1,)]

    run_sql(server, "postgres", "ALTER DATABASE {far} RENAME TO {gone}", far=far.name, gone="gone")
    for in_place in (False, True):
        restored = restore_database(Job(settings), "latest", in_place_wanted=in_place)
        unfilled = [one for one in restored["findings"] if one["code"] == "VIEW_NOT_FILLED"]
        assert [one["message"].rpartition("does: ")[2] for one in unfilled] == [
            "REFRESH MATERIALIZED VIEW public.m;",
            "REFRESH MATERIALIZED VIEW public.n;",
        ]
        assert 'could not connect to server "far"' in unfilled[0]["message"]
        assert "SCHEMA_DIFFERS" not in {one["code"] for one in restored["findings"]}
        assert server.execute("SELECT * FROM near", name) == [(2,)]
        assert server.execute(
            "SELECT count(*) FROM pg_class WHERE relkind = 'm' AND NOT relispopulated", name
        ) == [(2,)]
