"""What was written after the backup: rows of a kept database and of the live one."""

from __future__ import annotations

from postgres_backup.backup.database import create_backup
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database
from postgres_backup.restore.row_counts import compare_step, lines
from tests.integration.restoring import run_sql


def test_tables_with_another_number_of_rows_are_named(database, config):
    for number, table in enumerate(("same", "more", "gone"), 1):
        run_sql(
            database.server,
            database.name,
            "SET ROLE {owner}",
            f"CREATE TABLE {table} AS SELECT generate_series(1, {number}) AS id",
            owner=database.owner,
        )
    job = Job(config.settings)
    create_backup(job)
    database.execute("INSERT INTO more VALUES (3), (4), (5)")
    database.execute("DROP TABLE gone")
    database.execute(f'SET ROLE "{database.owner}"; CREATE TABLE new_one (id int)')
    kept = restore_database(job, "latest")["kept_database"]
    found = compare_step(job, kept)
    assert found["kept_database"] == kept
    assert found["row_differences"] == [
        {"table": "public.gone", "kept_rows": None, "live_rows": 3},
        {"table": "public.more", "kept_rows": 5, "live_rows": 2},
        {"table": "public.new_one", "kept_rows": 0, "live_rows": None},
    ]
    assert lines(found)[1:] == [
        "Tables with another number of rows (until now -> now):",
        "  public.gone  no table -> 3",
        "  public.more  5 -> 2",
        "  public.new_one  0 -> no table",
    ]
    assert lines({**found, "row_differences": []}) == [
        f"Every table has as many rows as in {kept}."
    ]
