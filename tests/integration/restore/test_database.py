"""A restore on real servers: what comes back, and what a failure leaves alone."""

from __future__ import annotations

import os
import shutil

import pyrage
import pytest
from psycopg import sql

from demo import sample
from demo.postgres_server import UNPRIVILEGED
from postgres_backup.backup.database import create_backup
from postgres_backup.errors import PostgresBackupError, UsageError
from postgres_backup.job import Job
from postgres_backup.postgresql import replaced
from postgres_backup.postgresql.connection import connect_maintenance
from postgres_backup.restore.database import restore_database, undo_restore
from tests.conftest import Database
from tests.integration import engine
from tests.integration.restoring import as_superuser, databases_of, rows_of, run_sql, state_of
from tests.services import samples
from tests.services.brief import BriefPostgresServer


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
    server.execute(
        sql.SQL("SET ROLE {}; GRANT CREATE ON DATABASE {} TO {}; RESET ROLE").format(
            app, here, readonly
        )
    )
    settings = as_superuser(config, server)
    whole = state_of(server, name)
    taken = create_backup(Job(settings))
    server.execute(sql.SQL("ALTER DATABASE {} RESET ALL").format(here))
    sample.destroy(server.dsn(name))
    server.execute(sql.SQL("COMMENT ON DATABASE {} IS 'damaged'").format(here))
    damaged = state_of(server, name)

    plan = restore_database(Job(settings, check=True), "latest")
    assert state_of(server, name) == damaged
    result = restore_database(Job(settings), "latest")
    assert (result["backup"], result["findings"]) == (taken["backup"], [])
    assert state_of(server, name) == whole
    assert result["rows"] == taken["rows"] == plan["rows"]
    assert 0 < result["downtime_seconds"] < 5
    assert result["kept_database"].startswith(f"{name}_before_")
    assert rows_of(server, result["kept_database"]) == damaged["rows"]

    first = undo_restore(Job(settings))
    assert (first["restored_database"], state_of(server, name)) == (
        result["kept_database"],
        damaged,
    )
    second = undo_restore(Job(settings))
    assert (second["restored_database"], state_of(server, name)) == (first["kept_database"], whole)
    with connect_maintenance(settings, name) as connection:
        [kept] = replaced.kept(connection, name)
    assert kept.name == second["kept_database"]


#: names that a shell, libpq, a format or a cut in the middle of a letter would read as something
#: else
NAMES = (
    'o\'quoted "db"; -- $1 \\x',
    "host=127.0.0.1 port=1 dbname=postgres",
    "postgresql://nobody@127.0.0.1:1/postgres",
    "--help",
    "crm_restore_2026-01-27_00-00-00",
    "%s {0} %(name)s\tnew\nline",
    "Әріптерден құралған өте ұзын атау",
    "a" * 63,
)


def test_databases_of_any_name(new_database, new_config, s3, new_bucket):
    """Backed up, restored, undone; beside another whose first 42 bytes are the same."""
    for name in NAMES:
        assert len(name.encode()) <= 63
        made = new_database(name)
        server, bucket = made.server, new_bucket(s3)
        config = new_config(made, s3, bucket)
        run_sql(
            server,
            name,
            "CREATE TABLE t (id int)",
            "INSERT INTO t VALUES (1), (2)",
            "ALTER TABLE t OWNER TO {owner}",
            owner=made.owner,
        )
        create_backup(Job(config.settings))
        run_sql(server, name, "DELETE FROM t")
        result = restore_database(Job(config.settings), "latest")
        assert (rows(server, name), rows(server, result["kept_database"])) == (2, 0)
        undone = undo_restore(Job(config.settings), kept=result["kept_database"])
        assert (rows(server, name), rows(server, undone["kept_database"])) == (0, 2)
    assert restore_database(Job(config.settings), "latest", in_place_wanted=True)["rows"] == 2
    assert rows(server, name) == 2
    twin = new_database("a" * 62 + "b")
    config = new_config(twin, s3, new_bucket(s3))
    create_backup(Job(config.settings))
    with pytest.raises(UsageError, match="Nothing to undo"):
        undo_restore(Job(config.settings))
    assert (
        restore_database(Job(config.settings), "latest")["kept_database"] != undone["kept_database"]
    )


def rows(server, name: str) -> int:
    return server.execute("SELECT count(*) FROM t", name)[0][0]


@pytest.mark.every_major
def test_rows_of_very_different_widths_come_out_as_they_went_in(database, config):
    """PostgreSQL would fill the gaps that wide rows leave with later ones; then the same rows had
    another hash.
    """
    server, name = database.server, database.name
    run_sql(
        server,
        name,
        "SET ROLE {owner}",
        "CREATE TABLE \"wide; 'one'\" (id int, text text)",
        "INSERT INTO \"wide; 'one'\" SELECT i, left(repeat(md5(i::text) || md5((-i)::text), 40),"
        " CASE WHEN i % 7 = 0 THEN 1900 ELSE 50 + i % 150 END)"
        " FROM generate_series(1, 20000) i",
        # few bytes of text and many of pages, behind a table that ends the first transaction
        "CREATE TABLE z_names AS SELECT i AS id, "
        + ", ".join(f"CASE WHEN i <= 36 THEN name 'x' END AS n{n}" for n in range(20))
        + " FROM generate_series(1, 110) i",
        owner=database.owner,
    )
    before = rows_of(server, name)
    create_backup(Job(config.settings))
    assert [
        finding["code"] for finding in restore_database(Job(config.settings), "latest")["findings"]
    ] == ["DISK_NOT_CHECKED"]
    assert rows_of(server, name) == before


@pytest.mark.parametrize(
    "variables",
    [
        {"BACKUP_FORMAT": "custom"},
        {"BACKUP_COMPRESSION": "zstd"},
        {"AGE": "plain"},
        {"AGE": "custom", "BACKUP_FORMAT": "custom"},
    ],
    ids=["custom", "zstd", "age", "custom and age"],
)
def test_every_kind_of_object(variables, sample_database, config):
    server, name = sample_database.server, sample_database.name
    identity = pyrage.x25519.Identity.generate()
    encrypted = "AGE" in variables
    chosen = {name: value for name, value in variables.items() if name != "AGE"}
    config.change(**chosen, AGE_RECIPIENTS=str(identity.to_public()) if encrypted else None)
    settings = as_superuser(config, server)
    before = rows_of(server, name)
    create_backup(Job(settings))
    sample.destroy(server.dsn(name))
    if encrypted:
        damaged = rows_of(server, name)
        for wrong in ((), (str(pyrage.x25519.Identity.generate()),)):
            with pytest.raises(PostgresBackupError) as caught:
                restore_database(Job(settings, identities=wrong), "latest")
            assert caught.value.hint
        assert rows_of(server, name) == damaged
    assert (
        restore_database(Job(settings, identities=(str(identity),) if encrypted else ()), "latest")[
            "findings"
        ]
        == []
    )
    assert rows_of(server, name) == before


LOCALES = {
    (15, "libc"): "LOCALE 'C'",
    (15, "latin"): "ENCODING 'LATIN1' LOCALE 'C'",
    (15, "icu"): "LOCALE_PROVIDER icu ICU_LOCALE 'kk-KZ' LOCALE 'C.UTF-8'",
    (18, "builtin"): "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C.UTF-8'",
}


@pytest.mark.parametrize(("major", "kind"), LOCALES)
def test_encoding_and_locale_come_back(major, kind, postgres_server, new_config, s3, bucket):
    server = postgres_server(major)
    run_sql(server, "postgres", f"CREATE DATABASE locale TEMPLATE template0 {LOCALES[major, kind]}")
    try:
        config = new_config(
            Database(server, "locale", server.superuser, server.password, ""), s3, bucket
        )
        run_sql(
            server,
            "locale",
            "CREATE TABLE t AS"
            " SELECT chr(i) AS letter FROM generate_series(65, 120) i ORDER BY chr(i)",
        )
        before = state_of(server, "locale")
        create_backup(Job(config.settings))
        run_sql(server, "postgres", "DROP DATABASE locale")
        assert restore_database(Job(config.settings), "latest")["findings"] == []
        assert state_of(server, "locale") == before
    finally:
        run_sql(server, "postgres", "DROP DATABASE IF EXISTS locale")


def test_from_an_old_major_into_new_ones(postgres_server, new_config, s3, bucket):
    """Rows and hashes are the same in each; nothing is a false alarm."""
    old = postgres_server(15)
    run_sql(old, "postgres", "CREATE DATABASE moving")
    samples.load(old.dsn("moving"), scale=0.02, role_prefix="moving_")
    servers = [postgres_server(major) for major in (15, 16, 18)]
    try:
        before = rows_of(old, "moving")
        create_backup(
            Job(
                new_config(
                    Database(old, "moving", old.superuser, old.password, ""), s3, bucket
                ).settings
            )
        )
        for server in servers[1:]:
            settings = new_config(
                Database(server, "moving", server.superuser, server.password, ""), s3, bucket
            ).settings
            result = restore_database(Job(settings), "latest")
            assert (result["findings"], result["kept_database"], result["downtime_seconds"]) == (
                [],
                None,
                0.0,
            )
            assert set(result["missing_roles"]) == set(sample.role_names("moving_").values())
            assert rows_of(server, "moving") == before
    finally:
        for server in servers:
            run_sql(server, "postgres", "DROP DATABASE IF EXISTS moving")
            for name in sample.role_names("moving_").values():
                run_sql(server, "postgres", "DROP ROLE IF EXISTS {name}", name=name)


def test_tables_of_extensions_are_no_false_alarm(tmp_path_factory, new_config, s3, bucket):
    """An extension's table has rows of its own, and of the user's only these are dumped. Where
    others refer to it it cannot be emptied (as in postgis_topology), and its rows may come out in
    another order than they went in.

    18 finds extensions anywhere.
    """
    folder = tmp_path_factory.mktemp("extension")
    (folder / "extension").mkdir()
    (folder / "extension" / "cities.control").write_text(
        "default_version = '1'\nrelocatable = false\nschema = public\n"
    )
    (folder / "extension" / "cities--1.sql").write_text(
        "CREATE TABLE city (name text, ours boolean DEFAULT true);\n"
        "INSERT INTO city SELECT 'city ' || i, true FROM generate_series(1, 500) i;\n"
        "SELECT pg_extension_config_dump('city', 'WHERE NOT ours');\n"
        "CREATE TABLE empty (id int);\n"
        "SELECT pg_extension_config_dump('empty', '');\n"
        "CREATE TABLE topology (id int PRIMARY KEY, name text);\n"
        "CREATE TABLE layer (id int, topology int REFERENCES topology);\n"
        "SELECT pg_extension_config_dump('topology', '');\n"
        "SELECT pg_extension_config_dump('layer', '');\n"
    )
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    with BriefPostgresServer(
        tmp_path_factory.mktemp("pg18ext"),
        18,
        settings={"extension_control_path": f"$system:{folder}"},
    ) as server:
        run_sql(server, "postgres", "CREATE DATABASE atlas")
        run_sql(
            server,
            "atlas",
            "CREATE EXTENSION cities",
            "INSERT INTO city SELECT 'my ' || i, false FROM generate_series(1, 30) i",
            "INSERT INTO empty VALUES (1)",
            "INSERT INTO topology SELECT i, left(repeat(md5(i::text), 60),"
            " CASE WHEN i % 7 = 0 THEN 1900 ELSE 50 + i % 150 END)"
            " FROM generate_series(1, 500) i",
            "INSERT INTO layer SELECT i, i FROM generate_series(1, 500) i",
        )
        settings = new_config(
            Database(server, "atlas", server.superuser, server.password, ""), s3, bucket
        ).settings
        before = rows_of(server, "atlas")
        assert create_backup(Job(settings))["rows"] == 1031
        for in_place in (False, True):
            run_sql(server, "atlas", "DELETE FROM city WHERE name LIKE '%1%'")
            assert (
                restore_database(Job(settings), "latest", in_place_wanted=in_place)["findings"]
                == []
            )
            assert rows_of(server, "atlas") == before


def test_a_tablespace(tmp_path_factory, postgres, new_database, new_config, s3, bucket):
    """Where a database lies is where it is restored; on a server without that place, in the default
    one, and that is said.
    """
    place = tmp_path_factory.mktemp("tablespace")
    if os.geteuid() == 0:
        shutil.chown(place, UNPRIVILEGED)
        for folder in (place.parent, place.parent.parent):
            folder.chmod(0o711)
    run_sql(postgres, "postgres", f"CREATE TABLESPACE elsewhere LOCATION '{place}'")
    made = new_database(options="TABLESPACE elsewhere")
    try:
        settings = as_superuser(new_config(made, s3, bucket), postgres)
        run_sql(postgres, made.name, "CREATE TABLE t (id int)")
        create_backup(Job(settings))
        kept = restore_database(Job(settings), "latest")["kept_database"]
        assert state_of(postgres, made.name)["tablespace"] == "elsewhere"
        for name in (made.name, kept):
            run_sql(postgres, "postgres", "DROP DATABASE {name}", name=name)
        run_sql(postgres, "postgres", "DROP TABLESPACE elsewhere")
        result = restore_database(Job(settings), "latest")
        assert [finding["code"] for finding in result["findings"]] == ["TABLESPACE_MISSING"]
        assert state_of(postgres, made.name)["tablespace"] == "pg_default"
    finally:
        if postgres.execute("SELECT 1 FROM pg_tablespace WHERE spcname = 'elsewhere'"):
            for name in [n for n in databases_of(postgres) if n.startswith(made.name)]:
                run_sql(postgres, "postgres", "DROP DATABASE {name} WITH (FORCE)", name=name)
            run_sql(postgres, "postgres", "DROP TABLESPACE elsewhere")


def test_memory_does_not_grow_with_the_database(database, config):
    """Our own process, by the kernel's account; the dump has 250 MB."""
    server, name = database.server, database.name
    run_sql(
        server,
        name,
        "CREATE TABLE t (id int, body text)",
        "ALTER TABLE t ALTER body SET STORAGE EXTERNAL",
    )
    run_sql(
        server,
        name,
        "INSERT INTO t SELECT i, repeat(md5(i::text), 60) FROM generate_series(1, 130000) i",
    )
    as_superuser(config, server)
    for arguments in (("backup",), ("restore", "latest")):
        done = engine.measured(config, *arguments)
        assert done["status"] == 0, done["err"]
        print(f"{arguments[0]}: {done['peak_kb'] / 1024:.0f} MiB")
        assert done["peak_kb"] < 200 * 1024
