"""Renames, restores, undos, clocks and prunes in random order, against a model: no database that
somebody wrote to, renamed, copied or is connected to is ever dropped, an undo takes back the last
thing or nothing, and every row is where the model says.
"""

from __future__ import annotations

import dataclasses
import itertools
from datetime import datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg import sql

from postgres_backup.backup.prune_replaced import prune_replaced
from postgres_backup.errors import UsageError
from postgres_backup.job import Job
from postgres_backup.postgresql import last_change, replaced
from postgres_backup.restore.database import undo_restore
from tests.integration.replacing import Clock, fill, restore
from tests.properties import examples

DAYS = 1
numbers = itertools.count()


@dataclasses.dataclass
class Known:
    """What the model knows of one database, by its oid.

    :param rows: the texts in its table.
    :param kept_as: the name that a swap gave it; empty while it is none of ours.
    :param written: since it was replaced, or seen by a prune for the first time.
    :param looks: prunes that have seen it.
    :param met_at: how many backups there had been when the first of them did.
    :param replaced_by: the oid of what took its place.
    :param noted: a restore in place came after, while it was ours.
    """

    rows: set[str]
    name: str
    kept_as: str = ""
    written: bool = False
    looks: int = 0
    met_at: int = 0
    replaced_by: int = 0
    noted: bool = False

    @property
    def ours(self) -> bool:
        return bool(self.kept_as) and self.name == self.kept_as


class KeptDatabases(RuleBasedStateMachine):
    """What may happen to one live database and to all that are kept of it."""

    def __init__(self, database, config, clock: Clock) -> None:
        super().__init__()
        self.database, self.server, self.clock = database, database.server, clock
        self.name = f"{database.name}_{next(numbers)}"
        self.settings = dataclasses.replace(
            config.settings, databases=(self.name,), keep_replaced_days=DAYS
        )
        self.job = Job(self.settings)
        self.known: dict[int, Known] = {}
        self.inside: dict[int, psycopg.Connection] = {}
        self.backups: list[datetime] = []
        self.dropped = 0
        clock.offset = timedelta()
        # what is done to whole databases; what looks into one must leave it again
        self.outside = self.server.connect()

    def teardown(self) -> None:
        for connection in self.inside.values():
            connection.close()
        for oid in self.there():
            self.run("DROP DATABASE {} WITH (FORCE)", self.there()[oid])
        self.outside.close()

    # what the server says

    def run(self, statement: str, *names: str) -> None:
        self.outside.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))

    def enter(self, oid: int) -> psycopg.Connection:
        """A session in a database, as the application has it."""
        return psycopg.connect(self.database.dsn(self.known[oid].name), autocommit=True)

    def ask(self, oid: int, statement: str, *parameters: str) -> list[tuple]:
        with self.enter(oid) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []

    def there(self) -> dict[int, str]:
        """The databases of this machine that the server has."""
        asked = "SELECT oid::bigint, datname FROM pg_database WHERE datname LIKE %s"
        pattern = self.name.replace("_", "\\_") + "%"
        return {
            oid: name
            for oid, name in self.outside.execute(asked, (pattern,))
            if name == self.name or name[len(self.name)] == "_"
        }

    def oid(self, name: str) -> int:
        return {there: oid for oid, there in self.there().items()}[name]

    def now(self) -> datetime:
        return replaced.server_now(self.outside)

    # what the model says

    @property
    def live(self) -> int:
        [oid] = [oid for oid, known in self.known.items() if known.name == self.name]
        return oid

    def one(self, number: int, choose=lambda known: True) -> int:
        """One of the databases that are not live; 0 where there is none."""
        there = [oid for oid, one in self.known.items() if one.name != self.name and choose(one)]
        return sorted(there)[number % len(there)] if there else 0

    def swapped(self, before: int, after: int, kept_as: str) -> None:
        """The live database was replaced by another one."""
        self.known[before] = Known(
            self.known[before].rows, kept_as, kept_as=kept_as, replaced_by=after
        )
        self.known[after] = Known(self.known[after].rows, self.name)
        for oid in (before, after):  # whoever was inside was sent away
            if connection := self.inside.pop(oid, None):
                connection.close()

    # what happens

    @initialize()
    def begin(self) -> None:
        self.run("CREATE DATABASE {} OWNER {}", self.name, self.database.owner)
        fill(self.job, self.name, "at first")
        self.known[self.oid(self.name)] = Known({"at first"}, self.name)
        for _ in range(2):
            self.restore_a_backup()

    @rule()
    def restore_a_backup(self) -> None:
        text, before = f"restored {next(numbers)}", self.live
        kept = restore(self.job, self.database.owner, text)
        self.known[self.oid(self.name)] = Known({text}, f"{self.name}_restored")
        self.swapped(before, self.oid(self.name), kept)

    @rule()
    def undo(self) -> None:
        before = self.live
        try:
            done = undo_restore(self.job)
        except UsageError:
            # the last thing was no swap, or what it replaced is no longer ours
            replaced_by_live = [
                one
                for one in self.known.values()
                if one.ours and one.replaced_by == before and not one.noted
            ]
            newest = max((one.kept_as for one in self.known.values() if one.ours), default="")
            assert newest not in [one.kept_as for one in replaced_by_live]
            return
        after = self.oid(self.name)
        back = self.known[after]
        assert back.ours
        assert back.replaced_by == before
        assert not back.noted
        self.swapped(before, after, done["kept_database"])

    @rule(number=st.integers(0, 7))
    def undo_by_name(self, number: int) -> None:
        oid = self.one(number, lambda one: bool(one.kept_as))
        if not oid:
            return
        before, known = self.live, self.known[oid]
        if not known.ours:
            with pytest.raises(UsageError):
                undo_restore(self.job, known.name)
            return
        done = undo_restore(self.job, known.name)
        assert self.oid(self.name) == oid
        self.swapped(before, oid, done["kept_database"])

    @rule()
    def restore_in_place(self) -> None:
        """Or tables, or whatever keeps nothing."""
        text = f"in place {next(numbers)}"
        with self.enter(self.live) as connection, connection.transaction():
            connection.execute("DELETE FROM day")
            connection.execute("INSERT INTO day VALUES (%s)", (text,))
            last_change.note(connection, self.name, f"restore of {text}")
        self.known[self.live].rows = {text}
        for known in self.known.values():
            known.noted |= known.ours

    @rule(number=st.integers(0, 7), back=st.booleans())
    def rename_by_hand(self, number: int, back: bool) -> None:
        """Adopt one, or give it the name again that it was kept under."""
        oid = self.one(number, lambda one: bool(one.kept_as) and one.ours != back)
        if not oid or oid in self.inside:
            return
        known = self.known[oid]
        name = known.kept_as if back else f"{self.name}_archive_{next(numbers)}"
        self.run("ALTER DATABASE {} RENAME TO {}", known.name, name)
        known.name = name

    @rule(number=st.integers(0, 7))
    def bring_back_by_hand(self, number: int) -> None:
        oid = self.one(number, lambda one: bool(one.kept_as))
        if not oid or oid in self.inside or self.live in self.inside:
            return
        broken = f"{self.name}_broken_{next(numbers)}"
        self.run("ALTER DATABASE {} RENAME TO {}", self.name, broken)
        self.run("ALTER DATABASE {} RENAME TO {}", self.known[oid].name, self.name)
        self.known[self.live] = Known(self.known[self.live].rows, broken)
        self.known[oid] = Known(self.known[oid].rows, self.name)

    @rule(number=st.integers(0, 7))
    def copy_with_its_mark(self, number: int) -> None:
        oid = self.one(number, lambda one: bool(one.kept_as))
        if not oid or oid in self.inside:
            return
        name = f"{self.name}_copy_{next(numbers)}"
        self.run("CREATE DATABASE {} TEMPLATE {}", name, self.known[oid].name)
        said = self.outside.execute(
            "SELECT shobj_description(%s::oid, 'pg_database')", (oid,)
        ).fetchone()[0]
        self.outside.execute(
            sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), said)
        )
        self.known[self.oid(name)] = Known(set(self.known[oid].rows), name)

    @rule(number=st.integers(0, 7), live=st.booleans())
    def write(self, number: int, live: bool) -> None:
        oid = self.live if live else self.one(number)
        if not oid:
            return
        text = f"written {next(numbers)}"
        self.ask(oid, "INSERT INTO day VALUES (%s)", text)
        self.known[oid].rows.add(text)
        self.known[oid].written = True

    @rule(number=st.integers(0, 7))
    def read(self, number: int) -> None:
        if oid := self.one(number):
            self.ask(oid, "SELECT * FROM day")
            self.ask(oid, "ANALYZE day")

    @rule(number=st.integers(0, 7))
    def come_in(self, number: int) -> None:
        if oid := self.one(number):
            self.inside[oid] = self.inside.pop(oid, None) or self.enter(oid)

    @precondition(lambda self: self.inside)
    @rule()
    def leave(self) -> None:
        self.inside.popitem()[1].close()

    @rule()
    def back_up(self) -> None:
        self.backups.append(self.now())

    @rule(hours=st.integers(-24 * 20, 24 * 20))
    def set_the_clock(self, hours: int) -> None:
        self.clock.offset += timedelta(hours=hours)

    @rule(check=st.booleans())
    def prune(self, check: bool) -> None:
        newest = max(self.backups, default=None)
        ours = {oid: one for oid, one in self.known.items() if one.ours}
        pruned = prune_replaced(dataclasses.replace(self.job, check=check), newest)
        if check:
            return
        for known in ours.values():
            known.met_at = known.met_at if known.looks else len(self.backups)
            known.looks += 1
        for line in pruned.deleted:
            [oid] = [oid for oid, one in ours.items() if one.name == line["database"]]
            gone = self.known.pop(oid)
            self.dropped += 1
            assert not gone.written
            assert oid not in self.inside
            assert gone.looks > DAYS
            assert len(self.backups) > gone.met_at

    @rule(number=st.integers(2, 3))
    def nights(self, number: int) -> None:
        for _ in range(number):
            self.clock.offset += timedelta(days=1)
            self.back_up()
            self.prune(check=False)

    @invariant()
    def every_database_is_there(self) -> None:
        assert self.there() == {oid: one.name for oid, one in self.known.items()}

    @invariant()
    def every_row_is_there(self) -> None:
        for oid, known in self.known.items():
            assert {text for (text,) in self.ask(oid, "SELECT said FROM day")} == known.rows


@pytest.mark.hypothesis
def test_no_database_with_rows_that_are_nowhere_else_is_ever_dropped(database, config, monkeypatch):
    clock, machines = Clock(monkeypatch), []

    def machine() -> KeptDatabases:
        machines.append(KeptDatabases(database, config, clock))
        return machines[-1]

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples(6),
            stateful_step_count=15,
            deadline=None,
            phases=(Phase.explicit, Phase.reuse, Phase.generate),
            suppress_health_check=list(HealthCheck),
        ),
    )
    dropped = sum(one.dropped for one in machines)
    print(f"{len(machines)} stories, {dropped} databases dropped")


def test_the_model_sees_drops(database, config, monkeypatch):
    """A story by hand, so that it is known that the model lets databases go at all."""
    story = KeptDatabases(database, config, Clock(monkeypatch))
    story.begin()
    story.write(0, live=False)
    story.nights(3)
    story.every_database_is_there()
    story.every_row_is_there()
    assert (story.dropped, len(story.known)) == (1, 2)
    story.undo()
    story.teardown()
