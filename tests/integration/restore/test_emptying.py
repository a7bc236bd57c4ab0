"""What lies in no schema is gone too before a restore in place, and what is not ours to drop is
known before.
"""

from __future__ import annotations

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.errors import DatabaseError
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database
from tests.integration.restoring import as_superuser, run_sql
from tests.integration.round_trip import run_psql, there_and_back

#: one of each kind that lies in no schema, some of types that a schema takes with it
IN_NO_SCHEMA = """
CREATE ACCESS METHOD hh TYPE TABLE HANDLER heap_tableam_handler;
CREATE TABLE am (i int) USING hh;
INSERT INTO am VALUES (1);
CREATE SCHEMA types;
CREATE TYPE types.pair AS (a int, b int);
CREATE CAST (types.pair AS text) WITH INOUT;
CREATE TRANSFORM FOR int LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal));
CREATE TRANSFORM FOR types.pair LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal));
CREATE FOREIGN DATA WRAPPER fw;
CREATE SERVER there FOREIGN DATA WRAPPER fw;
CREATE USER MAPPING FOR PUBLIC SERVER there OPTIONS (pw 'a''b');
CREATE FUNCTION handler() RETURNS language_handler
    LANGUAGE c AS '$libdir/plpgsql', 'plpgsql_call_handler';
CREATE LANGUAGE other HANDLER handler;
CREATE PUBLICATION everything FOR ALL TABLES;
CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1 dbname=none' PUBLICATION p
    WITH (connect = false, slot_name = 's');
CREATE FUNCTION nodrop() RETURNS event_trigger LANGUAGE plpgsql
    AS $$ BEGIN RAISE EXCEPTION 'no drops here'; END $$;
CREATE EVENT TRIGGER nodrop ON sql_drop EXECUTE FUNCTION nodrop();
"""


@pytest.mark.every_major
def test_what_lies_in_no_schema(database, config):
    server, name = database.server, database.name
    run_psql(server, name, IN_NO_SCHEMA)
    # many schemas: what is dropped is not all looked up before the first is gone
    run_psql(server, name, "".join(f"CREATE SCHEMA s{n}; " for n in range(80)))
    damage = (
        "INSERT INTO am VALUES (2); ALTER SUBSCRIPTION s ENABLE;"
        "CREATE CAST (types.pair AS int) WITH INOUT"
    )
    there_and_back(as_superuser(config, server), server, damage, in_place=True)


def test_things_of_others_are_known_before(database, config):
    server, name = database.server, database.name
    settings = config.settings
    run_sql(server, name, "CREATE SCHEMA AUTHORIZATION {owner}", owner=database.owner)
    create_backup(Job(settings))
    run_sql(
        server,
        name,
        "CREATE PUBLICATION everything FOR ALL TABLES",
        "CREATE SCHEMA theirs",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    )
    with pytest.raises(DatabaseError) as caught:
        restore_database(Job(settings, check=True), "latest", in_place_wanted=True)
    assert "publication everything (of postgres), schema theirs (of p" in caught.value.message
    assert "as a superuser" in caught.value.hint
    run_sql(server, name, "DROP PUBLICATION everything", "DROP SCHEMA theirs")
    restore_database(Job(settings), "latest", in_place_wanted=True)
