"""What the module ``postgres_backup_server_info`` is told."""

from __future__ import annotations

import pytest

from postgres_backup.postgresql import server
from tests.integration.restoring import run_sql


@pytest.mark.every_major
def test_which_server_it_is_and_what_of_it_is_here(database, config, tmp_path):
    major = database.server.major
    run_sql(database.server, database.name, "CREATE TABLE t (id int)")
    told = server.ask_server(config.settings)
    assert (told["major"], told["createdb"], told["superuser"]) == (major, True, False)
    assert told["tables"] == {database.name: 1}
    assert told["client_version"].startswith(f"{major}.")
    assert server.lines(told) == [f"PostgreSQL {told['version']}, pg_dump {told['client_version']}"]
    without = server.ask_server(config.change(PG_BIN_DIR=str(tmp_path)))
    assert without["client_version"] == ""
    assert server.lines(without)[0].endswith("pg_dump missing")
