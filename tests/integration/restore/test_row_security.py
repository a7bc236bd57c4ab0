"""Row security of tables that are brought back by somebody who is no superuser: it hides no row
from him, or he is refused.
"""

from __future__ import annotations

import pytest

from postgres_backup.backup.database import create_backup
from postgres_backup.errors import UsageError
from postgres_backup.job import Job
from postgres_backup.restore.database import undo_restore
from postgres_backup.restore.tables import restore_tables

SHOP = (
    "CREATE TABLE users (id int PRIMARY KEY, name text)",
    "CREATE TABLE orders (id int PRIMARY KEY, buyer int REFERENCES users ON DELETE CASCADE)",
    "INSERT INTO users SELECT n, 'u' || n FROM generate_series(1, 9) n",
    "INSERT INTO orders SELECT n, n FROM generate_series(1, 9) n",
    "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
    "CREATE POLICY few ON users USING (id < 3) WITH CHECK (id < 3)",
    "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
)
BOTH = ["users", "orders"]


def as_owner(database, *statements: str) -> None:
    for statement in statements:
        database.execute(f'SET ROLE "{database.owner}"; {statement}')


def content(database) -> list[list[tuple]]:
    return [database.execute(f"SELECT * FROM {name} ORDER BY id") for name in BOTH]


@pytest.fixture
def shop(database, config):
    as_owner(database, *SHOP)
    create_backup(Job(config.settings))
    return database


def test_it_hides_nothing_from_the_owner(shop, config):
    before, job = content(shop), Job(config.settings)
    as_owner(
        shop,
        "DELETE FROM users WHERE id IN (1, 8)",
        "UPDATE users SET name = 'wrong' WHERE id IN (2, 9)",
        "INSERT INTO users VALUES (77, 'later')",
    )
    damaged = content(shop)
    told = restore_tables(Job(config.settings, check=True), "latest", BOTH)["tables"]
    assert restore_tables(job, "latest", BOTH)["tables"] == told
    assert [(one["inserted"], one["updated"], one["deleted"]) for one in told] == [
        (2, 2, 1),
        (2, 0, 0),
    ]
    assert content(shop) == before
    states = "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE relname = ANY(%s)"
    assert shop.execute(states.replace("%s", "'{users,orders}'")) == [(True, False)] * 2
    undo_restore(job)
    assert content(shop) == damaged
    as_owner(shop, "DROP TABLE users CASCADE")
    restore_tables(job, "latest", BOTH)
    assert content(shop) == before
    assert shop.execute("SELECT polname, pg_get_expr(polqual, polrelid) FROM pg_policy") == [
        ("few", "(id < 3)")
    ]


@pytest.mark.parametrize(
    "since", ["ALTER TABLE users FORCE ROW LEVEL SECURITY", "ALTER TABLE users OWNER TO {other}"]
)
def test_whom_it_would_hide_rows_from_is_refused_and_told_the_way_out(shop, config, since):
    """It is forced on the owner since, or he owns the table no more."""
    other = f"{shop.role_prefix}other"
    shop.execute(f'CREATE ROLE "{other}"')
    as_owner(shop, "DELETE FROM users WHERE id = 8")
    shop.execute(since.format(other=f'"{other}"'))
    shop.execute(f'GRANT ALL ON users TO "{shop.owner}"')
    damaged = content(shop)
    for check in (True, False):
        with pytest.raises(
            UsageError, match="Row-level security may hide rows of users from"
        ) as refused:
            restore_tables(Job(config.settings, check=check), "latest", BOTH)
        assert f"ALTER ROLE {shop.owner} BYPASSRLS;" in refused.value.hint
    assert content(shop) == damaged
    shop.execute(f'ALTER ROLE "{shop.owner}" BYPASSRLS')
    if "FORCE" in since:
        done = restore_tables(Job(config.settings), "latest", BOTH)
        assert [one["inserted"] for one in done["tables"]] == [1, 1]
