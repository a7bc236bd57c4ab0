"""Which tables are large enough for a member of their own, asked of a server at work."""

from __future__ import annotations

import psycopg

from postgres_backup.backup import cuts
from postgres_backup.postgresql.connection import connect


def test_a_table_that_is_locked_is_judged_by_its_estimate(config, database, monkeypatch):
    monkeypatch.setattr(cuts, "LARGE_BYTES", 100_000)
    monkeypatch.setattr(cuts, "_PATIENCE", "50ms")
    database.execute("CREATE TABLE small AS SELECT 1 AS x")
    database.execute(
        "CREATE TABLE \"Large\" AS SELECT repeat('x', 1000) FROM generate_series(1, 500)"
    )
    with connect(config.settings, database.name, "REPEATABLE_READ") as asks:
        assert cuts.large_tables(asks) == {'public."Large"'}
    database.execute("ANALYZE")
    with psycopg.connect(database.server.dsn(database.name)) as other:
        other.execute("LOCK TABLE small")
        with connect(config.settings, database.name, "REPEATABLE_READ") as asks:
            assert cuts.large_tables(asks) == {'public."Large"'}
            assert asks.execute("SELECT 1").fetchone() == (1,), "the snapshot is still good"
