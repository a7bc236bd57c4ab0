"""Whatever the schema, whatever happened later, and whichever tables are named: these become what
they were, or nothing happens; nothing else in the database changes; and an undo gives exactly what
was there before.
"""

from __future__ import annotations

import dataclasses
import re
from contextlib import AbstractContextManager

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from psycopg import sql

from postgres_backup.catalog.backups import Backup
from postgres_backup.catalog.manifest import TableRecord
from postgres_backup.catalog.names import BackupName, Layout
from postgres_backup.errors import DatabaseError, UsageError
from postgres_backup.findings import Finding
from postgres_backup.job import Job
from postgres_backup.machine.progress import Progress
from postgres_backup.postgresql import programs, replaced
from postgres_backup.postgresql.connection import plain_search_path
from postgres_backup.postgresql.facts import DatabaseFacts, database_facts
from postgres_backup.postgresql.programs import Programs
from postgres_backup.restore import kept_rows
from postgres_backup.restore.first_look import look_at_definitions
from postgres_backup.restore.repair import Repair, repair
from postgres_backup.restore.table_definitions import run_definitions
from postgres_backup.restore.table_rows import TableResult
from postgres_backup.restore.undo_tables import UndoTablesResult, undo_tables
from tests.integration.restore import random_tables
from tests.integration.restore.random_tables import Made
from tests.properties import examples

NAME = BackupName.parse("postgres-backup-2026-01-27_00-00-00.sql.gz")
RIGHT_REFUSAL = re.compile(
    r"(would belong to nothing|that are not there now|is a view now|was a partition of"
    r"|what its definition needs|fit no partition)"
)
#: cases of one schema, one after the other: 24 in every run, 2,000 by make fuzz
ROUNDS = 4
SHRINK = [Phase.shrink] if examples(1) > 1 else []


@dataclasses.dataclass(frozen=True, repr=False)
class Two:
    """A side database and a live one of an owner who is no superuser, with room for examples."""

    side: psycopg.Connection
    live: psycopg.Connection
    job: Job
    facts: DatabaseFacts
    tools: Programs

    def bring_back(
        self, wanted: list[str], check: bool = False, kept: str = ""
    ) -> tuple[str, list[TableResult], list[Finding]]:
        """What was said against it, empty where it was done; what became of the tables; findings.

        :param kept: the database that keeps what is changed; empty: none does.
        """
        side, live = self.side, self.live
        name, by = live.info.dbname, "restore of tables"

        def define(made, section):
            run_definitions(self.tools, side.info.dbname, live, made, section)

        def keep(changes, keys):
            if kept:
                kept_rows.keep(self.job, kept, live, changes, keys)
                kept_rows.finish(self.job, kept, live, by, name)

        live.autocommit = False
        level = "REPEATABLE_READ" if check else "READ_COMMITTED"
        live.isolation_level = psycopg.IsolationLevel[level]
        backup = Backup(NAME, Layout(""), 1)
        try:
            what = Repair(side, live, backup, define, Progress(), check, keep=keep)
            changes, findings = repair(what, wanted)
            return "", [change.describe() for change in changes], findings
        except (DatabaseError, UsageError) as error:
            return str(error), [], []
        finally:
            live.rollback()
            live.autocommit = True
            plain_search_path(live)  # a repair leaves the database's own
            plain_search_path(side)

    def first_look(self, wanted: list[str]) -> str:
        """What is said against it by the definitions alone; the numbers of rows are as a manifest
        has them.
        """
        records = {
            f"public.{name}": TableRecord(rows=len(found), bytes=0, sha256="")
            for name, found in random_tables.rows(self.side).items()
        }
        backup = Backup(NAME, Layout(""), 1)
        try:
            with self.live.transaction(force_rollback=True):
                look_at_definitions(self.side, self.live, backup, wanted, records)
        except UsageError as error:
            return str(error)
        return ""

    def keeping(self) -> AbstractContextManager[str]:
        """A database for rows, as ``restore --tables`` makes it."""
        return kept_rows.begun(self.job, self.facts)

    def undo(self, kept: str, check: bool = False) -> UndoTablesResult:
        [chosen] = [
            found for found in replaced.kept(self.live, self.live.info.dbname) if found.name == kept
        ]
        return undo_tables(dataclasses.replace(self.job, check=check), chosen, self.facts)

    def forget(self) -> None:
        """Drop what is kept."""
        for found in replaced.kept(self.live, self.live.info.dbname):
            self.live.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(found.name)))


@pytest.fixture
def two(new_database, new_config, s3, bucket):
    live = new_database()
    side = f"{live.name}_side"
    live.server.execute(f"CREATE DATABASE {side} OWNER {live.owner} STRATEGY file_copy")
    options = "-c client_min_messages=warning"
    dsns = [
        live.server.dsn(name, live.owner, live.password, options=options)
        for name in (side, live.name)
    ]
    for name in (side, live.name):
        live.server.execute(f"ALTER SCHEMA public OWNER TO {live.owner}", name)
    job = Job(new_config(live, s3, bucket).settings)
    with (
        psycopg.connect(dsns[0], autocommit=True) as there,
        psycopg.connect(dsns[1], autocommit=True) as here,
    ):
        facts = database_facts(here, live.name)
        tools = programs.find(job.settings, here.info.server_version // 10_000)
        yield Two(there, here, job, facts, tools)


@settings(
    max_examples=examples(25) if examples(1) > 1 else 6,
    deadline=None,
    # a case is dear and says by itself what went wrong: no time is spent on explaining it, and
    # only make fuzz looks for a smaller one
    phases=[Phase.explicit, Phase.reuse, Phase.generate, *SHRINK],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_nothing_that_nobody_named_changes(two, data):
    tables, made = data.draw(random_tables.schemas())
    for connection in (two.side, two.live):
        plain_search_path(connection)
        connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        with connection.transaction():
            connection.execute(";".join(made))
    names = [name for table in tables for name in table.all_names]
    for _ in range(ROUNDS):
        random_tables.run(two.live, data.draw(random_tables.changes(tables)))
        there = {thing.relation for thing in random_tables.catalog(two.live)}
        gone = [name for name in names if name not in there]
        likely = st.sampled_from(gone) if gone and data.draw(st.booleans()) else st.nothing()
        some = st.lists(likely | st.sampled_from(names), min_size=1, max_size=3, unique=True)
        case = Case(two, tables, data.draw(some))
        event(case.repaired_and_undone())
        if data.draw(st.booleans()):
            case.judged(*two.bring_back(case.wanted))


class Case:
    """These tables brought back, and a look at everything.

    :ivar made: tables that are gone, and come back; ``stray``: partitions that are gone, and do
        not, as nobody named their tables.
    :ivar expected: what each table shall hold; ``homeless``: how many rows have no partition.
    :ivar lacking: what ``made`` needs and is gone too.
    """

    def __init__(self, two: Two, tables: list[Made], wanted: list[str]) -> None:
        self.two, self.tables, self.wanted = two, tables, wanted
        self.before = random_tables.rows(two.live)
        self.catalog = random_tables.catalog(two.live)
        kinds = {thing.relation: thing.name for thing in self.catalog if thing.kind == "relation"}
        self.views = [name for name in wanted if kinds.get(name) == "v"]
        gone = [name for name in wanted if name not in kinds]
        self.stray = {name for name in gone if self.top(name) not in {name, *wanted}}
        self.made = {part for name in gone if self.top(name) == name for part in self.parts(name)}
        self.touched = {part for name in wanted for part in self.parts(name)} - self.stray
        self.expected, self.homeless = self.as_it_shall_be()
        self.keys = random_tables.keys(two.live)
        self.keys += [key for key in random_tables.keys(two.side) if key.child in self.made]
        there = {name for name, kind in kinds.items() if kind in "rp"} | self.made
        self.lacking = [key.parent for key in self.keys if key.parent not in there]
        self.lacking += [
            table.name
            for table in tables
            if self.made & set(table.kids) and table.name not in there
        ]

    def top(self, name: str) -> str:
        """What a partition belongs to; or the table itself."""
        return next((table.name for table in self.tables if name in table.parts), name)

    def parts(self, name: str) -> list[str]:
        return next((table.parts for table in self.tables if name == table.name), [name])

    def as_it_shall_be(self) -> tuple[dict[str, list[str]], int]:
        was = random_tables.texts(random_tables.rows(self.two.side))
        leaves = self.before.keys() | self.made & was.keys()
        expected = random_tables.texts(self.before)
        expected |= {leaf: [] for leaf in leaves & self.touched}
        homeless = 0
        for part in self.touched & was.keys():
            # the other partition takes what fits no one else
            home = part if part in leaves else f"{self.top(part)}_high"
            if home in expected:
                expected[home] += was[part]
            else:
                homeless += len(was[part])
        return {leaf: sorted(rows) for leaf, rows in expected.items()}, homeless

    def repaired_and_undone(self) -> str:
        """What came of it; the live database is as before."""
        early = self.two.first_look(self.wanted)
        foretold = self.two.bring_back(self.wanted, check=True)
        assert early in ("", foretold[0])
        self.require_as_before()
        with self.two.keeping() as kept:
            answer = self.two.bring_back(self.wanted, kept=kept)
        assert answer == foretold
        outcome = self.judged(*answer)
        if outcome == "repaired":
            planned, done = self.two.undo(kept, check=True), self.two.undo(kept)
            assert planned == done | {"kept_database": None}
            self.two.forget()
        self.require_as_before(rewritten=outcome == "repaired")
        return outcome

    def require_as_before(self, rewritten: bool = False) -> None:
        """Every row, and whatever else there is.

        :param rewritten: a row may lie elsewhere.
        """
        after = random_tables.rows(self.two.live)
        assert rewritten or after == self.before
        assert random_tables.whole(after) == random_tables.whole(self.before)
        assert random_tables.catalog(self.two.live) == self.catalog

    def judged(self, refused: str, _: list[TableResult], findings: list[Finding]) -> str:
        """What a repair answered is right, and so is what is there now."""
        wrong, perhaps = random_tables.misfits(self.keys, self.expected)
        hopeless = wrong or self.views or self.stray or self.lacking or self.homeless
        if refused:
            assert RIGHT_REFUSAL.search(refused), refused
            assert hopeless or perhaps, refused
            return "refused"
        assert not hopeless
        after = random_tables.rows(self.two.live)
        assert random_tables.texts(after) == self.expected
        others = self.before.keys() - self.touched
        assert {leaf: after[leaf] for leaf in others} == {
            leaf: self.before[leaf] for leaf in others
        }
        self.require_what_was_added(random_tables.whole(after))
        self.require_definitions(findings)
        return "nothing to do" if after == self.before else "repaired"

    def require_what_was_added(self, after: dict[str, list[str]]) -> None:
        """A column of later holds what it held, and in rows that came back its default."""
        before = random_tables.whole(self.before)
        for name in set(self.wanted) - self.made:
            leaves = before.keys() & set(self.parts(name))
            keyed = any(name in table.parts and table.key == "primary" for table in self.tables)
            assert random_tables.added_right(
                [row for leaf in leaves for row in before[leaf]],
                [row for leaf in leaves for row in after[leaf]],
                keyed,
            )

    def require_definitions(self, findings: list[Finding]) -> None:
        """What was there is as it was, what came back as in the backup, what did not is told."""
        two, catalog = self.two, random_tables.catalog(self.two.live)
        if not self.made:
            assert catalog == self.catalog
            return
        assert random_tables.without(catalog, self.made) == self.catalog
        defined = [
            random_tables.defined(connection, self.made) for connection in (two.live, two.side)
        ]
        assert defined[0] == defined[1]
        told = " ".join(found["message"] for found in findings)
        back = {(key.child, key.name) for key in random_tables.keys(two.live)}
        for key in random_tables.keys(two.side):
            if key.parent in self.made and (key.child, key.name) not in back:
                assert f'ALTER TABLE {key.child} ADD CONSTRAINT "{key.name}" ' in told
        there = {thing.relation for thing in catalog}
        if self.tables[0].name in self.made and "seen" not in there:
            assert "the view public.seen went with a table" in told
