"""Bringing back chosen tables: what comes back, what stays as it is, and what is refused."""

from __future__ import annotations

import concurrent.futures

import psycopg
import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.errors import DatabaseError, UsageError
from postgres_backup.job import Job
from postgres_backup.restore import side_database
from postgres_backup.restore.steps import perform_step
from postgres_backup.restore.tables import restore_tables
from tests.integration import engine
from tests.integration.restoring import databases_of
from tests.waiting import wait_for

SHOP = (
    (
        "CREATE TABLE users ("
        "id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, tags text[])"
    ),
    (
        "CREATE TABLE orders (id serial PRIMARY KEY, buyer int NOT NULL REFERENCES users,"
        " total numeric(12,2), note json)"
    ),
    "CREATE TABLE log (line text)",
    'CREATE TABLE "Odd, one" (id int PRIMARY KEY, "The Value" bytea)',
    "CREATE TABLE audit (what text)",
    (
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO public.audit VALUES (TG_TABLE_NAME); RETURN NULL; END'"
    ),
    (
        "INSERT INTO users (name, tags)"
        " SELECT 'user ' || n, ARRAY['a', NULL, E'b\\\\,\"c'] FROM generate_series(1, 200) n"
    ),
    (
        "INSERT INTO orders (buyer, total, note)"
        " SELECT n, n * 1.5, '{\"a\": 1}' FROM generate_series(1, 200) n"
    ),
    "INSERT INTO log SELECT 'line ' || n % 7 FROM generate_series(1, 100) n",
    """INSERT INTO "Odd, one" VALUES (1, '\\xdeadbeef'), (2, NULL)""",
    (
        "CREATE TRIGGER watch AFTER INSERT OR UPDATE OR DELETE ON users"
        " FOR EACH STATEMENT EXECUTE FUNCTION note()"
    ),
)
EVERY = ("users", "orders", "log", '"Odd, one"')


@pytest.fixture
def shop(database, config):
    """A backed-up shop whose tables belong to its owner."""
    for statement in SHOP:
        as_owner(database, statement)
    create_backup(Job(config.settings))
    return database


def as_owner(database, *statements: str) -> None:
    for statement in statements:
        database.execute(f'SET ROLE "{database.owner}"; {statement}')


def content(database, *names: str) -> dict[str, list[tuple]]:
    return {name: database.execute(f"SELECT t::text FROM {name} t ORDER BY 1") for name in names}


def counts(result: dict) -> dict[str, tuple[int, int, int]]:
    return {
        table["table"]: (table["inserted"], table["updated"], table["deleted"])
        for table in result["tables"]
    }


def test_only_the_chosen_tables_become_what_they_were(shop, config):
    before = content(shop, *EVERY)
    as_owner(
        shop,
        "DELETE FROM orders WHERE id % 2 = 0",
        "UPDATE users SET name = 'wrong' WHERE id <= 10",
        "INSERT INTO users (name) VALUES ('later one')",
        "DELETE FROM log WHERE line = 'line 3'",
        "INSERT INTO log VALUES ('later')",
        """UPDATE "Odd, one" SET "The Value" = '\\x00'""",
        "TRUNCATE audit",
    )
    damaged, there = content(shop, *EVERY), databases_of(shop.server)

    wanted = ["users", "public.orders", '"Odd, one"']
    plan = restore_tables(Job(config.settings, check=True), "latest", wanted)
    expected = {
        "public.users": (0, 10, 1),
        "public.orders": (100, 0, 0),
        "public.Odd, one": (0, 2, 0),
    }
    assert counts(plan) == expected
    assert content(shop, *EVERY) == damaged
    assert databases_of(shop.server) == there

    done = restore_tables(Job(config.settings), "latest", wanted)
    assert counts(done) == expected
    assert content(shop, *EVERY) == before | {"log": damaged["log"]}
    assert content(shop, "audit") == {"audit": []}  # a restore is not a day's work
    assert shop.execute("SELECT tgenabled FROM pg_trigger WHERE tgname = 'watch'") == [("O",)]
    assert databases_of(shop.server) == there
    # numbers that rows have used are not given out again
    as_owner(
        shop, "INSERT INTO orders (buyer) VALUES (1)", "INSERT INTO users (name) VALUES ('next')"
    )
    assert shop.execute("SELECT max(id) > 200 FROM orders") == [(True,)]
    assert not restore_tables(Job(config.settings), "latest", ['"Odd, one"'])["changed"]


def test_triggers_fire_only_where_it_is_asked_for_and_it_is_said(shop, config):
    for asked, noted, said in (
        (False, [], "these triggers do not fire (--triggers on lets them): watch of users"),
        (True, [("users",)], "these triggers fire for each row that is written: watch of users"),
    ):
        as_owner(shop, "UPDATE users SET name = 'wrong' WHERE id <= 3", "TRUNCATE audit")
        for check in (True, False):
            done = restore_tables(Job(config.settings, check=check), "latest", ["users"], asked)
            codes = {one["code"]: one["message"] for one in done["findings"]}
            assert codes["TRIGGERS_OF_TABLES"] == said
            assert counts(done) == {"public.users": (0, 3, 0)}
        assert shop.execute("SELECT DISTINCT what FROM audit") == noted
    with pytest.raises(UsageError, match="Only where chosen tables"):
        perform_step(Job(config.settings), backup="latest", triggers="on")


def test_a_name_is_meant_as_postgresql_reads_it_in_any_schema(shop, config):
    as_owner(shop, "CREATE SCHEMA far", "CREATE TABLE far.goods AS SELECT 1 AS id")
    create_backup(Job(config.settings))
    as_owner(shop, "INSERT INTO far.goods VALUES (2)")
    done = restore_tables(Job(config.settings), "latest", ["GOODS"])
    assert counts(done) == {"far.goods": (0, 0, 1)}
    assert content(shop, "far.goods") == {"far.goods": [("(1)",)]}


def test_a_table_without_a_key_is_compared_row_by_row(shop, config):
    before = content(shop, "log")
    as_owner(
        shop, "DELETE FROM log WHERE line = 'line 3'", "INSERT INTO log VALUES ('later'), ('later')"
    )
    done = restore_tables(Job(config.settings), "latest", ["log"])
    assert counts(done) == {"public.log": (14, 0, 2)}
    assert content(shop, "log") == before


def test_a_dropped_table_comes_back_with_all_that_belongs_to_it(shop, config):
    before = content(shop, "orders")
    as_owner(shop, "DROP TABLE orders")
    done = restore_tables(Job(config.settings), "latest", ["orders"])
    assert done["tables"][0]["created"]
    assert content(shop, "orders") == before
    assert shop.execute(
        "SELECT count(*) FROM pg_constraint"
        " WHERE conrelid = 'orders'::regclass AND contype IN ('p', 'f')"
    ) == [(2,)]
    as_owner(shop, "INSERT INTO orders (buyer) VALUES (1)")
    assert shop.execute("SELECT max(id) FROM orders") == [(201,)]


def test_foreign_keys_stay_in_force_and_a_result_that_does_not_fit_changes_nothing(shop, config):
    as_owner(
        shop,
        "INSERT INTO users (name) VALUES ('later')",
        "INSERT INTO orders (buyer) SELECT max(id) FROM users",
    )
    damaged = content(shop, *EVERY)
    with pytest.raises(
        DatabaseError
    ) as refused:  # the later user has a later order, which nobody named
        restore_tables(Job(config.settings), "latest", ["users"])
    assert "orders" in str(refused.value)
    assert content(shop, *EVERY) == damaged
    done = restore_tables(Job(config.settings), "latest", ["orders", "users"])
    assert counts(done) == {"public.users": (0, 0, 1), "public.orders": (0, 0, 1)}


def test_what_cannot_be_done_is_said_before_anything_is_touched(shop, config):
    damaged, there = content(shop, *EVERY), databases_of(shop.server)
    for name in ("userz", "users;", '"users'):
        with pytest.raises(UsageError) as refused:
            restore_tables(Job(config.settings), "latest", [name])
        assert name in refused.value.message
    as_owner(shop, "ALTER TABLE log DROP COLUMN line")
    with pytest.raises(UsageError) as refused:
        restore_tables(Job(config.settings), "latest", ["log"])
    assert "other columns now" in refused.value.message
    assert databases_of(shop.server) == there
    others = [name for name in EVERY if name != "log"]
    assert content(shop, *others) == {name: damaged[name] for name in others}


def test_the_command_line_says_what_differs(shop, config):
    as_owner(shop, "UPDATE users SET name = 'wrong' WHERE id <= 3")
    checked = engine.run(
        config.path, "restore", "latest", "--tables", 'users,"Odd, one"', "--check"
    )
    assert checked.returncode == 0, checked.stderr
    assert "public.users: 200 rows: 0 inserted, 3 set back, 0 later ones deleted" in checked.stdout
    assert shop.execute("SELECT count(*) FROM users WHERE name = 'wrong'") == [(3,)]
    assert engine.run(config.path, "restore", "latest", "--tables", "users").returncode == 0
    assert shop.execute("SELECT count(*) FROM users WHERE name = 'wrong'") == [(0,)]


def test_what_is_committed_is_done_though_the_side_database_is_held(shop, config, monkeypatch):
    """By a monitoring session of a superuser, which an owner may not end."""
    monkeypatch.setattr(side_database, "_PATIENCE", (0,))
    as_owner(shop, "DELETE FROM orders WHERE id = 1")

    def sit() -> psycopg.Connection:
        [side] = wait_for(
            "the side database",
            lambda: [x for x in databases_of(shop.server) if x.startswith(f"{shop.name}_restore_")],
        )
        return wait_for("a seat in it", lambda: _connected(shop.server.dsn(side)))

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        seat = pool.submit(sit)
        done = restore_tables(Job(config.settings), "latest", ["orders"])
        with seat.result():
            [left] = [one for one in done["findings"] if one["code"] == "SIDE_DATABASE_LEFT"]
            assert counts(done) == {"public.orders": (1, 0, 0)}
            assert content(shop, "orders")["orders"]
            side = left["message"].partition(" ")[0]
            assert side in databases_of(shop.server)
    restore_tables(Job(config.settings), "latest", ["orders"])
    assert side not in databases_of(shop.server)


def _connected(dsn: str) -> psycopg.Connection | None:
    try:
        return psycopg.connect(dsn, autocommit=True)
    except psycopg.OperationalError:
        return None
