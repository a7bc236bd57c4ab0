"""A restore of tables is taken back: what it has changed becomes what it was, what came since
stays, and what has changed since refuses it.
"""

from __future__ import annotations

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.backup.prune_replaced import prune_replaced
from postgres_backup.errors import DatabaseError, UsageError
from postgres_backup.health import kept_databases
from postgres_backup.job import Job
from postgres_backup.restore.database import restore_database, undo_lines, undo_restore
from postgres_backup.restore.tables import restore_tables
from tests.integration import engine
from tests.integration.restoring import databases_of

SHOP = (
    (
        "CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text,"
        " mail text UNIQUE)"
    ),
    "CREATE TABLE orders (id int PRIMARY KEY, buyer int NOT NULL REFERENCES users, note json)",
    "CREATE TABLE log (line text, n numeric)",
    "CREATE TABLE gone (id serial PRIMARY KEY, at timestamptz DEFAULT now())",
    "CREATE TABLE parts (id int, v float8, PRIMARY KEY (id)) PARTITION BY RANGE (id)",
    "CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (10)",
    "CREATE TABLE parts_high PARTITION OF parts DEFAULT",
    "INSERT INTO users (name, mail) SELECT 'u' || n, 'm' || n FROM generate_series(1, 20) n",
    "INSERT INTO orders SELECT n, n, '{\"a\": 1}' FROM generate_series(1, 20) n",
    "INSERT INTO log SELECT E'a\\tb\\\\' || n % 3, 1.0 FROM generate_series(1, 9) n",
    "INSERT INTO gone SELECT FROM generate_series(1, 5)",
    "INSERT INTO parts SELECT n, n / 3.0 FROM generate_series(1, 20) n",
)
DAMAGE = (
    "DELETE FROM orders WHERE id <= 3",
    "INSERT INTO users (name, mail) VALUES ('later', 'm99')",
    "UPDATE users SET name = 'other' WHERE id = 4",
    "UPDATE users SET mail = mail || 'x' WHERE id IN (5, 6)",
    "UPDATE log SET n = 1.00 WHERE line LIKE '%1'",
    "INSERT INTO log VALUES ('later', 2), ('later', 2)",
    "UPDATE parts SET v = 'NaN' WHERE id IN (9, 10)",
)
WANTED = ["orders", "users", "log", "parts"]


@pytest.fixture
def shop(database, config):
    for statement in SHOP:
        as_owner(database, statement)
    create_backup(Job(config.settings))
    for statement in DAMAGE:
        as_owner(database, statement)
    return database


def as_owner(database, *statements: str) -> None:
    for statement in statements:
        database.execute(f'SET ROLE "{database.owner}"; {statement}')


def content(database, *names: str) -> dict[str, list[tuple]]:
    names = names or tuple(WANTED)
    return {name: database.execute(f"SELECT t::text FROM {name} t ORDER BY 1") for name in names}


def counted(result) -> dict[str, tuple[int, int, int]]:
    return {
        table["table"]: (table["inserted"], table["updated"], table["deleted"])
        for table in result["tables"]
    }


def test_an_undo_takes_back_what_a_restore_of_tables_has_changed(shop, config):
    damaged, job = content(shop), Job(config.settings)
    done = restore_tables(job, "latest", WANTED)
    restored = content(shop)
    assert restored != damaged
    kept = done["kept_database"]
    assert kept.startswith(f"{shop.name}_rows_")
    # what came since stays
    as_owner(shop, "UPDATE users SET name = 'since' WHERE id = 20", "INSERT INTO log VALUES ('s')")
    told = undo_restore(Job(config.settings, check=True))
    assert told["restored_database"] == kept
    assert content(shop, "orders") == {"orders": restored["orders"]}
    there = databases_of(shop.server)
    undone = undo_restore(job)
    assert counted(undone) == counted(told)
    as_owner(shop, "UPDATE users SET name = 'u20' WHERE id = 20", "DELETE FROM log WHERE n IS NULL")
    assert content(shop) == damaged
    # and the undo can be undone
    assert databases_of(shop.server) - there == {undone["kept_database"]}
    again = undo_restore(job)
    assert again["restored_database"] == undone["kept_database"]
    assert content(shop) == restored
    assert kept in " ".join(undo_lines(undone))


def test_rows_that_have_changed_since_refuse_it(shop, config):
    job = Job(config.settings)
    restore_tables(job, "latest", WANTED)
    for statement, back, said in (
        (
            "UPDATE users SET name = 'mine' WHERE id = 4",
            "UPDATE users SET name = 'u4' WHERE id = 4",
            "in public.users 1 rows that it has written were changed or are gone",
        ),
        (
            "INSERT INTO users OVERRIDING SYSTEM VALUE VALUES (21, 'mine', 'n')",
            "DELETE FROM users WHERE id = 21",
            "1 rows came since whose keys it would bring back",
        ),
        (
            "INSERT INTO users OVERRIDING SYSTEM VALUE VALUES (77, 'mine', 'm99')",
            "DELETE FROM users WHERE id = 77",
            "do not fit what is there now",
        ),
        ("ALTER TABLE log ADD more int", "ALTER TABLE log DROP more", "has other columns"),
    ):
        as_owner(shop, statement)
        before = content(shop)
        there = databases_of(shop.server)
        with pytest.raises((DatabaseError, UsageError)) as refused:
            undo_restore(job)
        assert said in refused.value.message
        assert "copy what you need by hand" in refused.value.hint
        assert content(shop) == before
        assert databases_of(shop.server) == there
        as_owner(shop, back)
    # rows of a table that nobody named refer to what the restore has brought back
    as_owner(shop, "CREATE TABLE paid (id int REFERENCES orders)", "INSERT INTO paid VALUES (2)")
    for check in (True, False):
        with pytest.raises(DatabaseError, match="1 rows of paid belong to rows of orders"):
            undo_restore(Job(config.settings, check=check))
    as_owner(shop, "DROP TABLE paid")
    undo_restore(job)


def test_a_table_that_was_made_again_goes_again_unless_it_was_written_to(shop, config):
    job = Job(config.settings)
    as_owner(shop, "DROP TABLE gone")
    restore_tables(job, "latest", ["gone", "log"])
    as_owner(shop, "INSERT INTO gone DEFAULT VALUES")
    for check in (True, False):
        with pytest.raises(DatabaseError, match=r"public\.gone, .*was written to since"):
            undo_restore(Job(config.settings, check=check))
    as_owner(shop, "DELETE FROM gone WHERE id = 6", "CREATE VIEW seen AS SELECT * FROM gone")
    for check in (True, False):
        with pytest.raises(DatabaseError, match="view seen depends on table gone"):
            undo_restore(Job(config.settings, check=check))
    as_owner(shop, "DROP VIEW seen")
    undone = undo_restore(job)
    assert undone["dropped"] == ["public.gone"]
    assert shop.execute("SELECT to_regclass('gone')") == [(None,)]


def test_what_refers_to_a_table_that_was_made_again_is_no_reason_against_the_undo(shop, config):
    """The restore itself has made the foreign key of orders anew; one of somebody else's stays."""
    job = Job(config.settings)
    as_owner(shop, "DROP TABLE users CASCADE", "UPDATE orders SET buyer = 77 WHERE id = 9")
    damaged = content(shop, "orders")
    restore_tables(job, "latest", ["users", "orders"])
    names = "SELECT conname FROM pg_constraint WHERE contype = 'f'"
    assert shop.execute(names) == [("orders_buyer_fkey",)]
    as_owner(shop, "ALTER TABLE orders ADD CONSTRAINT mine FOREIGN KEY (id) REFERENCES users")
    for check in (True, False):
        with pytest.raises(DatabaseError, match="constraint mine on table orders depends on"):
            undo_restore(Job(config.settings, check=check))
    as_owner(shop, "ALTER TABLE orders DROP CONSTRAINT mine")
    told = undo_restore(Job(config.settings, check=True))
    assert shop.execute(names) == [("orders_buyer_fkey",)]
    undone = undo_restore(job)
    assert (counted(told), told["dropped"]) == (counted(undone), ["public.users"])
    assert content(shop, "orders") == damaged
    assert shop.execute(names) == []


def test_a_partitioned_table_that_was_made_again_goes_with_the_keys_to_it(shop, config):
    """Each of its partitions has a part of such a key."""
    job = Job(config.settings)
    as_owner(shop, "ALTER TABLE orders ADD CONSTRAINT part FOREIGN KEY (id) REFERENCES parts")
    create_backup(job)
    as_owner(shop, "DROP TABLE parts CASCADE", "UPDATE orders SET note = '2' WHERE id = 5")
    damaged = content(shop, "orders")
    restore_tables(job, "latest", ["orders", "parts"])
    planned, undone = undo_restore(Job(config.settings, check=True)), undo_restore(job)
    assert planned["dropped"] == undone["dropped"] == ["public.parts"]
    assert content(shop, "orders") == damaged


def test_rows_that_a_table_made_again_refers_to_go_with_it(shop, config):
    job = Job(config.settings)
    as_owner(shop, "DROP TABLE orders", "DELETE FROM users WHERE id = 4")
    damaged = content(shop, "users")
    restore_tables(job, "latest", ["orders", "users"])
    assert undo_restore(job)["dropped"] == ["public.orders"]
    assert content(shop, "users") == damaged


def test_a_table_that_inherits_more_columns_than_in_the_backup_goes_again(shop, config):
    job = Job(config.settings)
    as_owner(shop, "CREATE TABLE old_log (PRIMARY KEY (n)) INHERITS (log)")
    create_backup(job)
    as_owner(shop, "DROP TABLE old_log", "ALTER TABLE log ADD more int DEFAULT 7")
    restore_tables(job, "latest", ["old_log"])
    as_owner(shop, "INSERT INTO old_log VALUES ('since', 1, 8)")
    with pytest.raises(DatabaseError, match="was written to since"):
        undo_restore(job)
    as_owner(shop, "DELETE FROM old_log WHERE more = 8")
    assert undo_restore(job)["dropped"] == ["public.old_log"]


def test_what_is_kept_is_listed_pruned_and_no_database_to_swap(shop, config):
    job = Job(config.settings)
    nothing = restore_tables(job, "latest", ["gone"])
    assert (nothing["kept_database"], nothing["changed"]) == (None, False)
    done = restore_tables(job, "latest", ["log"])
    kept = done["kept_database"]
    [listed] = kept_databases.look(config.settings, shop.name, []).replaced
    assert (listed["name"], listed["by"]) == (kept, f"restore of tables from {done['backup']}")
    assert kept_databases.lines([listed])[0].startswith(f"rows of tables, kept in {kept}, ")
    assert prune_replaced(job, None).deleted == []
    whole = restore_database(job, "latest")["kept_database"]
    with pytest.raises(UsageError, match="is not live now"):
        undo_restore(job, kept)
    undo_restore(job, whole)
    undo_restore(job, kept)
    done = engine.run(config.path, "undo-restore", "--check")
    assert done.returncode == 0, done.stderr
    assert "would be taken back" in done.stdout


def test_what_a_killed_restore_has_begun_to_keep_is_removed(shop, config, monkeypatch):
    job = Job(config.settings)
    before = databases_of(shop.server)
    monkeypatch.setattr(
        "postgres_backup.restore.kept_rows.keep", lambda *_: (_ for _ in ()).throw(KeyError("x"))
    )
    with pytest.raises(KeyError):
        restore_tables(job, "latest", ["log"])
    assert databases_of(shop.server) == before
