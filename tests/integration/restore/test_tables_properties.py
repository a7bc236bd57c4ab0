"""Whatever the schema, whatever happened later, and whichever tables are named: these become what
they were, or nothing happens; and nothing else in the database changes.
"""

from __future__ import annotations

import re

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st

from postgres_backup.catalog.backups import Backup
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.errors import DatabaseError, UsageError
from postgres_backup.machine.progress import Progress
from postgres_backup.postgresql.connection import plain_search_path
from postgres_backup.restore.repair import Repair, repair
from tests.integration.restore import random_tables
from tests.properties import examples

NAME = BackupName.parse("postgres-backup-2026-01-27_00-00-00.sql.gz")
RIGHT_REFUSAL = re.compile(r"(would belong to nothing|that are not there now|is a view now)")
#: cases of one schema, one after the other: 40 in every run, 2,000 by make fuzz
ROUNDS = 5
SHRINK = [Phase.shrink] if examples(1) > 1 else []


@pytest.fixture
def two(new_database):
    """A side database and a live one of an owner who is no superuser, with room for examples."""
    live = new_database()
    side = f"{live.name}_side"
    live.server.execute(f"CREATE DATABASE {side} OWNER {live.owner}")
    options = "-c client_min_messages=warning"
    dsns = [
        live.server.dsn(name, live.owner, live.password, options=options)
        for name in (side, live.name)
    ]
    for name in (side, live.name):
        live.server.execute(f"ALTER SCHEMA public OWNER TO {live.owner}", name)
    with (
        psycopg.connect(dsns[0], autocommit=True) as there,
        psycopg.connect(dsns[1], autocommit=True) as here,
    ):
        yield there, here


def bring_back(side, live, wanted, check=False):
    """What was said against it; empty where it was done."""

    def define(made, section):
        assert not made

    live.autocommit = False
    live.isolation_level = psycopg.IsolationLevel["REPEATABLE_READ" if check else "READ_COMMITTED"]
    try:
        backup = Backup(NAME, Layout(""), 1)
        repair(Repair(side, live, backup, define, Progress(), check), wanted)
        return ""
    except (DatabaseError, UsageError) as error:
        return str(error)
    finally:
        live.rollback()
        live.autocommit = True


@settings(
    max_examples=examples(20) if examples(1) > 1 else 8,
    deadline=None,
    # a case is dear and says by itself what went wrong: no time is spent on explaining it, and
    # only make fuzz looks for a smaller one
    phases=[Phase.explicit, Phase.reuse, Phase.generate, *SHRINK],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_nothing_that_nobody_named_changes(two, data):
    side, live = two
    tables, made = data.draw(random_tables.schemas())
    for connection in two:
        plain_search_path(connection)  # a repair leaves the database's own
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        with connection.transaction():
            connection.execute(";".join(made))
    names = [name for table in tables for name in table.all_names]
    for _ in range(ROUNDS):
        plain_search_path(live)
        random_tables.run(live, data.draw(random_tables.changes(tables)))
        wanted = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
        outcome = one_case(side, live, wanted)
        event(outcome)


def one_case(side: psycopg.Connection, live: psycopg.Connection, wanted: list[str]) -> str:
    """Repair these tables, and look at everything; what came of it."""
    before, catalog = random_tables.rows(live), random_tables.catalog(live)
    leaves = {
        leaf for name in wanted for leaf in (name, f"{name}_low", f"{name}_high") if leaf in before
    }
    was = random_tables.texts(random_tables.rows(side))
    expected = random_tables.texts(before) | {leaf: was[leaf] for leaf in leaves if leaf in was}
    wrong, perhaps = random_tables.misfits(live, expected)

    foretold = bring_back(side, live, wanted, check=True)
    assert (random_tables.rows(live), random_tables.catalog(live)) == (before, catalog)
    refused = bring_back(side, live, wanted)
    assert foretold == refused
    assert random_tables.catalog(live) == catalog
    after = random_tables.rows(live)
    if refused:
        assert RIGHT_REFUSAL.search(refused), refused
        assert wrong or perhaps or "is a view now" in refused
        assert after == before
        return "refused"
    assert not wrong
    assert random_tables.texts(after) == expected
    others = set(after) - leaves
    assert {leaf: after[leaf] for leaf in others} == {leaf: before[leaf] for leaf in others}
    return "nothing to do" if after == before else "repaired"
