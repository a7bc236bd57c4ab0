"""A restore on real servers: what comes back, and what a failure leaves alone."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import sql

from demo import sample
from postgres_backup import backup, postgres, restore


#: a session that no setting of the database disturbs
PLAIN = "-c statement_timeout=0 -c default_transaction_read_only=off -c search_path=pg_catalog -c bytea_output=hex"


def as_superuser(config, server):
    """The settings with a superuser's name and password."""
    return config.change(DB_USER=server.superuser, DB_PASSWORD=server.password)


def state_of(server, name: str) -> dict:
    """Everything about a database that a restore promises to bring back, asked of the server itself."""
    with psycopg.connect(server.dsn(name, options=PLAIN), autocommit=True) as connection:
        facts = {
            key: value
            for key, value in connection.execute(
                """SELECT to_jsonb(d) - ARRAY['oid', 'datname', 'datfrozenxid', 'datminmxid', 'dattablespace', 'datdba', 'datacl', 'datcollversion']
               FROM pg_database d WHERE datname = current_database()"""
            )
            .fetchone()[0]
            .items()
        }
        facts["owner"] = connection.execute("SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()").fetchone()[0]
        facts["comment"] = connection.execute("SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()").fetchone()[0]
        facts["privileges"] = sorted(
            map(
                tuple,
                connection.execute(
                    """SELECT pg_get_userbyid(a.grantee), pg_get_userbyid(a.grantor), a.privilege_type, a.is_grantable
               FROM pg_database d, aclexplode(d.datacl) a WHERE datname = current_database()"""
                ),
            )
        )
        facts["settings"] = sorted(
            map(
                tuple,
                connection.execute(
                    """SELECT CASE setrole WHEN 0 THEN '' ELSE pg_get_userbyid(setrole) END, unnest(setconfig) FROM pg_db_role_setting s
               JOIN pg_database d ON d.oid = s.setdatabase WHERE datname = current_database()"""
                ),
            )
        )
        facts["rows"] = sample.fingerprint(connection)
    return facts


def databases_of(server) -> set[str]:
    return {name for (name,) in server.execute("SELECT datname FROM pg_database")}


@pytest.mark.every_major
def test_everything_comes_back_and_an_undo_undoes_itself(sample_database, config):
    server, name = sample_database.server, sample_database.name
    here = sql.Identifier(name)
    app = sql.Identifier(sample.role_names(sample_database.role_prefix)["app"])
    for statement in (
        'ALTER DATABASE {db} SET search_path TO "$user", public, "we""ird, one"',
        "ALTER DATABASE {db} SET app.greeting TO 'it''s; \"quoted\" \\ -- and 100%'",
        "ALTER DATABASE {db} SET bytea_output TO 'escape'",
        "ALTER DATABASE {db} SET timezone TO 'Asia/Almaty'",
        "ALTER DATABASE {db} SET default_transaction_read_only TO on",
        "ALTER DATABASE {db} SET statement_timeout TO '1ms'",
        "ALTER ROLE {app} IN DATABASE {db} SET search_path TO school, public",
        "ALTER ROLE {app} IN DATABASE {db} SET work_mem TO '7MB'",
        "ALTER DATABASE {db} CONNECTION LIMIT 33",
        "COMMENT ON DATABASE {db} IS 'it''s the \"main\" one {{\\ }}'",
        "GRANT CREATE ON DATABASE {db} TO {app} WITH GRANT OPTION",
    ):
        server.execute(sql.SQL(statement).format(db=here, app=app))
    readonly = sql.Identifier(sample.role_names(sample_database.role_prefix)["readonly"])
    server.execute(sql.SQL("SET ROLE {}; GRANT CREATE ON DATABASE {} TO {}; RESET ROLE").format(app, here, readonly))
    settings = as_superuser(config, server)
    whole = state_of(server, name)
    taken = backup.create(settings)
    server.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(here))
    sample.destroy(server.dsn(name))
    server.execute(sql.SQL("COMMENT ON DATABASE {} IS 'damaged'").format(here))
    damaged = state_of(server, name)

    plan = restore.restore(settings, "latest", check=True)
    assert state_of(server, name) == damaged
    result = restore.restore(settings, "latest")
    assert (result["backup"], result["findings"]) == (taken["backup"], [])
    assert state_of(server, name) == whole
    assert result["rows"] == taken["rows"] == plan["rows"]
    assert 0 < result["downtime_seconds"] < 5
    assert result["kept_database"].startswith(f"{name}_before_")
    assert sample.fingerprint(server.dsn(result["kept_database"], options=PLAIN)) == damaged["rows"]

    first = restore.undo(settings)
    assert (first["restored_database"], state_of(server, name)) == (result["kept_database"], damaged)
    second = restore.undo(settings)
    assert (second["restored_database"], state_of(server, name)) == (first["kept_database"], whole)
    with postgres.connect_maintenance(settings, name) as connection:
        from postgres_backup import replaced

        assert [row["name"] for row in replaced.kept(connection, name)] == [second["kept_database"]]
