"""Why a real server lets nobody in: each cause has its own sentence and what to do, in whatever
language the server speaks, and says whether it may pass.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.errors import DatabaseError
from postgres_backup.health.status import status
from postgres_backup.job import Job
from postgres_backup.postgresql.connection import connect, connect_maintenance
from postgres_backup.restore.database import restore_database
from tests.conftest import Database, missing
from tests.services.brief import BriefPostgresServer

MAJOR = 15
_WORDS = Path("/usr/share/locale/ru/LC_MESSAGES/postgres-15.mo")


class Strict(BriefPostgresServer):
    """A server with six connections, which lets in whom :meth:`let_in` names."""

    locales = ""

    def _plain_environment(self) -> dict[str, str]:
        more = {"LOCPATH": self.locales} if self.locales else {}
        return super()._plain_environment() | more

    def let_in(self, *databases: str) -> None:
        own = f"host all {self.superuser} 127.0.0.1/32 scram-sha-256\n"
        lines = [f"host {name} app 127.0.0.1/32 scram-sha-256\n" for name in databases]
        (self.data / "pg_hba.conf").write_text(own + "".join(lines))
        self.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="module", params=["English", "Russian"])
def server(request, tmp_path_factory):
    """With a database ``crm`` of ``app``."""
    folder = tmp_path_factory.mktemp("strict")
    settings = {"max_connections": "6", "superuser_reserved_connections": "2"}
    made = Strict(folder / "server", MAJOR, settings=settings)
    if request.param == "Russian":
        if not (_WORDS.exists() and shutil.which("localedef")):
            missing("Debian's postgresql-15 with its translations, and localedef (locales)")
        made.locales = str(folder / "locales")
        (folder / "locales").mkdir()
        target = folder / "locales" / "ru_RU.UTF-8"
        subprocess.run(["localedef", "-i", "ru_RU", "-f", "UTF-8", target], check=True)
        made.settings["lc_messages"] = "ru_RU.UTF-8"
    with made:
        made.language = request.param
        made.execute("CREATE ROLE app LOGIN PASSWORD 'app-secret'")
        for name in ("crm", "closed", "maint"):
            made.execute(f"CREATE DATABASE {name} OWNER app")
        made.execute("CREATE TABLE t AS SELECT 1 AS i; ALTER TABLE t OWNER TO app", "crm")
        made.execute("ALTER ROLE app CREATEDB")
        made.execute("REVOKE CONNECT ON DATABASE closed FROM PUBLIC, app")
        made.execute("ALTER DATABASE template0 ALLOW_CONNECTIONS false")
        made.let_in("all")
        yield made


@pytest.fixture
def config(server, new_config, s3, bucket):
    yield new_config(Database(server, "crm", "app", "app-secret", ""), s3, bucket)
    server.let_in("all")


def refused(settings, database: str = "crm", way=connect) -> DatabaseError:
    with pytest.raises(DatabaseError) as caught, way(settings, database):
        pass
    return caught.value


def spoke(server, text: str) -> bool:
    """It is the language that the test is about."""
    return bool(re.search(r"[\u0430-\u044f]", text)) == (server.language == "Russian")


@pytest.mark.parametrize(
    ("changes", "database", "message", "hint", "code"),
    [
        ({"DB_PASSWORD": "no"}, "crm", "log in to .* as app", "backup_db_password", "28P01"),
        ({"DB_USER": "nobody"}, "crm", "log in to .* as nobody", "pg_hba.conf", "28000"),
        ({}, "closed", "open the database 'closed'", "GRANT CONNECT ON DATABASE", "42501"),
        ({}, "template0", "open the database 'template0'", "ALLOW_CONNECTIONS", "55000"),
        ({}, "nodb", "open the database 'nodb' .* does not exist", "backup_db_name", "3D000"),
    ],
)
def test_what_does_not_pass(server, config, changes, database, message, hint, code):
    error = refused(config.change(**changes), database)
    assert error.sqlstate == code
    assert not error.passes
    assert re.search(f"^Failed to {message}", error.message)
    assert hint in error.hint
    assert code == "3D000" or spoke(server, error.message)
    assert "connection to server" not in error.message


def test_no_connection_that_is_free_is_no_server_that_does_not_run(server, config):
    with contextlib.ExitStack() as taken:
        for _ in range(4):
            taken.enter_context(server.connect("crm", "app", "app-secret"))
        for way in (connect, connect_maintenance):
            error = refused(config.settings, way=way)
            assert "it has none left" in error.message
            assert spoke(server, error.message)
            assert "pg_stat_activity" in error.hint
            assert "Is it running" not in error.hint
            assert error.passes
    with connect(config.settings, "crm"):
        pass


def test_what_does_not_run_may_do_so_later(config):
    error = refused(config.change(DB_PORT=1))
    assert "Is it running" in error.hint
    assert error.passes


def test_where_postgres_is_closed_another_one_does(server, config):
    """And where none is open but its own, what only asks does without."""
    server.let_in("crm", "template1")
    with connect_maintenance(config.settings, "crm") as connection:
        assert connection.info.dbname == "template1"
    server.let_in("crm")
    name = create_backup(Job(config.settings))["backup"]
    seen = status(config.settings)
    assert seen["databases"]["crm"]["last"]["backup"] == name
    assert "DATABASE_UNREACHABLE" not in {f["code"] for f in seen["findings"]}
    error = refused(config.settings, way=connect_maintenance)
    assert "backup_db_maintenance" in error.hint
    assert not error.passes
    server.let_in("crm", "maint")
    with pytest.raises(DatabaseError, match="beside 'crm'"):
        restore_database(Job(config.settings, check=True), name)
    settings = config.change(DB_MAINTENANCE="maint")
    with connect_maintenance(settings, "crm") as connection:
        assert connection.info.dbname == "maint"
    server.let_in("all")  # the side database has a name of its own
    assert restore_database(Job(settings), name)["rows"] == 1


def test_others_of_the_settings_do_too(server, config):
    server.let_in("crm", "maint")
    settings = config.change(DB_NAME=None, DB_NAMES="crm maint")
    with connect_maintenance(settings, "crm") as connection:
        assert connection.info.dbname == "maint"
