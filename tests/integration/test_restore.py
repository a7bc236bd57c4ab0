"""A restore on real servers: what comes back, and what a failure leaves alone."""

from __future__ import annotations

import pytest
from psycopg import sql

from demo import sample
from postgres_backup import backup, postgres, replaced, restore
from tests.integration.restoring import as_superuser, rows_of, state_of


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
    assert rows_of(server, result["kept_database"]) == damaged["rows"]

    first = restore.undo(settings)
    assert (first["restored_database"], state_of(server, name)) == (result["kept_database"], damaged)
    second = restore.undo(settings)
    assert (second["restored_database"], state_of(server, name)) == (first["kept_database"], whole)
    with postgres.connect_maintenance(settings, name) as connection:
        assert [row["name"] for row in replaced.kept(connection, name)] == [second["kept_database"]]
