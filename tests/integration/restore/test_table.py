"""One chosen table: found in both databases, with its columns and its key."""

from __future__ import annotations

import pytest

from postgres_backup.errors import UsageError

SHOP = (
    (
        "CREATE TABLE users (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text,"
        " loud text GENERATED ALWAYS AS (upper(name)) STORED)"
    ),
    "CREATE TABLE odd (a int NOT NULL, b int NOT NULL, c int, UNIQUE (c), UNIQUE (b, a))",
    "CREATE TABLE log (line text)",
    'CREATE SCHEMA "S 1"',
    'CREATE TABLE "S 1"."My table" (id int)',
    "CREATE VIEW seen AS SELECT 1 AS one",
)


def test_it_is_looked_at_in_both(pair):
    both = pair(SHOP, "DROP TABLE log")
    users = both.look("users")
    assert (users.label, users.key, users.stored) == ("public.users", ("id",), ["id", "name"])
    assert [(c.name, c.type, c.generated, c.always) for c in users.columns] == [
        ("id", "integer", False, True),
        ("name", "text", False, False),
        ("loud", "text", True, False),
    ]
    # a unique index whose columns are all NOT NULL can stand for a primary key
    assert both.look("odd").key == ("b", "a")
    log = both.look("public.log", 7)
    assert (log.live_oid, log.key) == (None, ())
    assert log.staging.as_string(both.live) == '"postgres_backup_stage_7"'
    assert both.look('"S 1"."My table"').label == "S 1.My table"


def test_what_is_no_table_or_has_changed_is_refused(pair):
    both = pair(SHOP, "ALTER TABLE log ADD COLUMN at date", "ALTER TABLE odd ALTER c TYPE bigint")
    for name in ("userz", "seen", "public.nothing"):
        with pytest.raises(UsageError, match=f"There is no table {name}"):
            both.look(name)
    for name in ('"users', "users;", "a.b.c.d"):  # older majors call the last one no name
        with pytest.raises(UsageError, match=r"(There is no table|is not the name of a table)"):
            both.look(name)
    assert both.look("log").added == ("at",)
    with pytest.raises(UsageError, match=r"has other columns now than in .*: c was integer"):
        both.look("odd")
