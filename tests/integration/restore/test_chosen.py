"""Chosen tables of a backup: only what they take is loaded, and all of it is proved."""

from __future__ import annotations

import dataclasses
import json

import pytest

from postgres_backup.backup import cuts
from postgres_backup.backup.database import create_backup
from postgres_backup.errors import PostgresBackupError
from postgres_backup.job import Job
from postgres_backup.restore import side_database, tables
from tests.integration import engine
from tests.integration.restoring import as_superuser, databases_of, run_sql
from tests.services.signing import forget_signed

SHOP = (
    "CREATE TABLE users (id int PRIMARY KEY, name text)",
    "CREATE TABLE orders (id int PRIMARY KEY, user_id int NOT NULL REFERENCES users)",
    "CREATE TABLE lines (order_id int REFERENCES orders, n int)",
    "CREATE TABLE noise (said text)",
    "CREATE TABLE days (day int, said text) PARTITION BY LIST (day)",
    "CREATE TABLE day_1 PARTITION OF days FOR VALUES IN (1)",
    "CREATE TABLE day_2 PARTITION OF days FOR VALUES IN (2)",
    "CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM noise",
    "INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 100) n",
    "INSERT INTO orders SELECT n, n FROM generate_series(1, 100) n",
    "INSERT INTO lines SELECT n, n FROM generate_series(1, 100) n",
    "INSERT INTO noise SELECT repeat('x', 100) FROM generate_series(1, 1000)",
    "INSERT INTO days SELECT n % 2 + 1, 'said' FROM generate_series(1, 50) n",
    "SELECT lo_from_bytea(4711, 'large')",
)


@pytest.fixture
def shop(database, config, monkeypatch):
    """``shop(*names)``: brings tables back; the result, and the rows that the side database had.

    ``ask(sql)`` runs something in the live database.
    """
    run_sql(database.server, database.name, *SHOP)
    job = Job(as_superuser(config, database.server))
    create_backup(job)
    loads: list[dict] = []
    working = job
    real = tables._bring_back

    def bring_back(job, plan, side, *rest):
        names = ("users", "orders", "lines", "noise", "day_1", "day_2")
        counted = {
            name: database.server.execute(f"SELECT count(*) FROM public.{name}", side)[0][0]
            for name in names
        }
        loads.append({name: rows for name, rows in counted.items() if rows})
        return real(job, plan, side, *rest)

    monkeypatch.setattr(tables, "_bring_back", bring_back)

    class Shop:
        def __call__(self, *names):
            return tables.restore_tables(self.job, "latest", names), loads[-1]

        job = working

        def backup(self):
            return create_backup(Job(as_superuser(config, database.server)))

        def trusting(self):
            forget_signed(config.settings)
            self.job = dataclasses.replace(self.job, trust_unsigned=True)

        def ask(self, *statements):
            run_sql(database.server, database.name, *statements)

        def rows(self, name):
            return database.server.execute(f"SELECT count(*) FROM {name}", database.name)[0][0]

        server = database.server

    return Shop()


def test_only_the_rows_of_the_chosen_tables_are_loaded(shop):
    shop.ask("DELETE FROM lines WHERE n > 60")
    before = databases_of(shop.server)
    done, loaded = shop("lines")
    assert loaded == {"lines": 100}
    assert (done["passed_tables"], done["passed_rows"]) == (5, 100 + 100 + 1000 + 25 + 25)
    assert [table["inserted"] for table in done["tables"]] == [40]
    assert "read and proved, and not loaded" in "\n".join(tables.lines(done))
    assert shop.rows("lines") == 100
    # and nothing else stands there but the rows as they were
    assert databases_of(shop.server) - before == {done["kept_database"]}


def test_a_partitioned_table_is_all_of_its_partitions(shop):
    shop.ask("DELETE FROM days")
    assert shop("days")[1] == {"day_1": 25, "day_2": 25}
    assert shop.rows("days") == 50
    shop.ask("DELETE FROM days")
    assert shop("day_2")[1] == {"day_2": 25}
    assert (shop.rows("days"), shop.rows("day_2")) == (25, 25)


def test_a_table_that_is_gone_comes_back_with_its_foreign_keys(shop):
    """They point to tables that nobody has named, whose rows are loaded too, so that they hold."""
    shop.ask("DROP TABLE lines")
    done, loaded = shop("public.lines")
    assert loaded == {"orders": 100, "lines": 100}
    assert [table["created"] for table in done["tables"]] == [True]
    with pytest.raises(Exception, match="violates foreign key"):
        shop.ask("INSERT INTO lines VALUES (7000, 1)")


def test_where_the_chosen_tables_do_not_load_alone_everything_is(shop):
    """A CHECK of one reads another."""
    shop.ask(
        "CREATE FUNCTION known(int) RETURNS bool LANGUAGE sql STABLE AS"
        " 'SELECT EXISTS (SELECT FROM public.users WHERE id = $1)'",
        "CREATE TABLE marks (user_id int CHECK (public.known(user_id)))",
        "INSERT INTO marks SELECT n FROM generate_series(1, 100) n",
    )
    shop.backup()
    shop.ask("DELETE FROM marks WHERE user_id > 90")
    done, loaded = shop("marks")
    assert (loaded["users"], loaded["noise"], done["passed_tables"]) == (100, 1000, 0)
    assert [table["inserted"] for table in done["tables"]] == [10]


def test_what_is_read_and_not_loaded_is_proved_all_the_same(shop, monkeypatch):
    """What goes past is counted and hashed: a backup that lacks a row of another table is none."""
    proved = []
    real = side_database.require_whole

    def require_whole(backup, report, unread):
        proved.append(report.tables["public.noise"].rows)
        return real(backup, report, unread)

    monkeypatch.setattr(side_database, "require_whole", require_whole)
    shop("lines")
    assert proved == [1000]


@pytest.fixture
def large(monkeypatch):
    """A table of some kB is a large one."""
    monkeypatch.setattr(cuts, "LARGE_BYTES", 64 * 1024)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_large_tables_that_nobody_named_are_not_read(
    large, shop, config, s3_client, bucket, compression
):
    config.change(BACKUP_COMPRESSION=compression)
    shop.ask("INSERT INTO lines SELECT NULL, n FROM generate_series(1, 20000) n")
    taken = shop.backup()
    manifest = engine.manifest_of(s3_client, bucket, taken)
    assert manifest["compression"] == compression
    members = manifest["members"]
    assert [one["table"] for one in members] == ["public.lines", "", "public.noise", ""]
    packed = s3_client.get_object(Bucket=bucket, Key=taken["key"])["Body"].read()
    assert packed[members[0]["at"] :][:2] == packed[:2]

    shop.ask("DELETE FROM noise WHERE ctid IN (SELECT ctid FROM noise LIMIT 10)")
    done, loaded = shop("noise")
    assert loaded == {"noise": 1000}
    assert (done["unread_tables"], shop.rows("noise")) == (1, 1000)
    skipped = members[1]["at"] - members[0]["at"]
    assert done["read_bytes"] == taken["bytes"] - skipped
    assert "1 large tables were not read" in "\n".join(tables.lines(done))
    assert shop("users")[0]["unread_tables"] == 2

    whole = engine.run(config.path, "verify", taken["backup"])
    assert whole.returncode == 0, whole.stderr


@pytest.mark.parametrize(
    "lie",
    [
        lambda m: m[0].update(at=m[0]["at"] + 1),
        lambda m: m[1].update(at=m[1]["at"] - 5),
        lambda m: m[0].update(table="public.noise") or m[2].update(table="public.lines"),
        lambda m: m[0].update(at=10**15),
        lambda m: m[1].update(at=m[0]["at"]),
        lambda m: m[0].update(table="public.users"),
    ],
)
def test_places_that_are_not_true_make_an_error_and_never_other_rows(
    large, shop, s3_client, bucket, lie
):
    """Nobody has signed them; they are trusted by hand."""
    shop.ask("INSERT INTO lines SELECT NULL, n FROM generate_series(1, 20000) n")
    taken = shop.backup()
    key = taken["key"].replace("postgres-backup/", "postgres-backup/manifests/")
    key = key.partition(".sql")[0] + ".json"
    manifest = json.loads(s3_client.get_object(Bucket=bucket, Key=key)["Body"].read())
    lie(manifest["members"])
    s3_client.put_object(Bucket=bucket, Key=key, Body=json.dumps(manifest).encode())
    s3_client.delete_object(Bucket=bucket, Key=key + ".sig")
    shop.ask("DELETE FROM noise")
    shop.trusting()
    try:
        done, _ = shop("noise")
    except PostgresBackupError:
        assert shop.rows("noise") == 0
    else:  # all of it was read after all, and that is right
        assert (done["unread_tables"], shop.rows("noise")) == (0, 1000)
