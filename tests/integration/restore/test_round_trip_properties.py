"""Whatever a database holds and however it is set: dumped, restored and dumped again it is the same
to the byte, in both formats, beside and in place, on every major.

What PostgreSQL's own pg_dump and psql do not bring back either, given the best of sessions, need
not come back; but then nothing is touched, and the refusal is a sentence.
"""

from __future__ import annotations

import dataclasses
import re
import subprocess

import pytest
from hypothesis import HealthCheck, Phase, event, given, note, settings
from hypothesis import strategies as st
from psycopg import sql

from demo.postgres_server import PostgresServer
from postgres_backup.backup.database import create_backup
from postgres_backup.errors import DatabaseError
from postgres_backup.job import Job
from postgres_backup.postgresql import side_by_side
from postgres_backup.restore.database import restore_database
from postgres_backup.settings import Settings
from tests.integration.restore import random_databases
from tests.integration.restore.random_databases import Random
from tests.integration.restoring import PLAIN, as_superuser, databases_of
from tests.properties import examples

LONG = examples(1) > 1
ROLES = ("trip reader", 'trip "O\'wner"')
#: what a database or a role may say by default makes no difference to how it is looked at
BEST = {
    "PGOPTIONS": PLAIN + " -c lock_timeout=0 -c role=none -c session_replication_role=origin"
    " -c quote_all_identifiers=off -c array_nulls=on -c transform_null_equals=off"
    " -c datestyle=ISO -c intervalstyle=postgres -c TimeZone=UTC -c lc_monetary=C"
    " -c extra_float_digits=1 -c default_transaction_isolation=read\\ committed"
    " -c client_min_messages=error -c row_security=on -c xmloption=content"
    " -c standard_conforming_strings=on"
}
#: what a backup may say: some functions may not be called by the owners of their tables
SAID = {"UNPROVEN", "SEARCH_PATH_NOT_ASKED"}
#: what lies in no schema, and a restore in place does not take out of its way
NOT_IN_PLACE = re.compile("DROP EXTENSION plpgsql")
#: rights to PostgreSQL's own objects that were changed since a backup stay in place as they are
NOT_LATER = re.compile("(GRANT|REVOKE) .* pg_catalog[.]")
#: of every table, generated columns too; a materialized view may have been older than its tables
_CONTENTS = """
SELECT pg_catalog.format('COPY (SELECT %L, t.* FROM ONLY %I.%I t) TO STDOUT', c.oid::regclass,
                         nspname, relname)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'r' AND nspname !~ '^pg_'
    AND nspname <> 'information_schema'
\\gexec
"""
_STATE = """
SELECT to_jsonb(d) - ARRAY['oid', 'datfrozenxid', 'datminmxid', 'datdba', 'datacl', 'dattablespace',
                           'datcollversion'] AS attributes,
       pg_get_userbyid(datdba), shobj_description(oid, 'pg_database'),
       ARRAY(SELECT granted::text FROM unnest(datacl) AS granted ORDER BY 1),
       ARRAY(SELECT setrole::regrole || ' ' || setting
             FROM pg_db_role_setting, unnest(setconfig) AS setting
             WHERE setdatabase = d.oid ORDER BY 1)
FROM pg_database d WHERE datname = %s"""


@pytest.fixture
def roles(postgres, new_database) -> list[str]:
    """Roles for owners and grants; ``new_database`` drops them."""
    for role in ROLES:
        postgres.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
    return [*ROLES, postgres.superuser]


@pytest.mark.every_major
@pytest.mark.parametrize("in_place", [False, True], ids=["beside", "in place"])
@pytest.mark.parametrize("form", ["plain", "custom"])
@settings(
    # of each kind: 12 in every run, 540 by make fuzz
    max_examples=45 if LONG else 1,
    deadline=None,
    # a trip is dear: smaller ones are looked for by make fuzz alone
    phases=[Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if LONG else [])],
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_there_and_back_again(postgres, roles, config, form, in_place, data, monkeypatch):
    monkeypatch.setattr(side_by_side, "WORTH_STATEMENTS", 2)
    made = data.draw(random_databases.databases(roles))
    usual = as_superuser(config, postgres)
    trip = Trip(
        postgres,
        dataclasses.replace(usual, databases=(made.name,), format=form, restore_jobs=3),
        made,
        in_place,
    )
    before = databases_of(postgres)
    try:
        event(trip.go())
    finally:
        note("\n".join(trip.said))
        for name in databases_of(postgres) - before:
            drop(postgres, name)


def drop(server: PostgresServer, name: str) -> None:
    server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclasses.dataclass
class Trip:
    """One database there and back again."""

    server: PostgresServer
    settings: Settings
    made: Random
    in_place: bool
    said: list[str] = dataclasses.field(default_factory=list)

    def go(self) -> str:
        """What came of it, in a few words."""
        self._create()
        self._run("filled", self.made.filled)
        self._run("settings", self.made.settings, "postgres")
        whole, state = self._dump(), self._state()
        if not whole:
            with pytest.raises(DatabaseError):
                create_backup(Job(self.settings))
            return "pg_dump cannot dump it"
        contents = self._contents()
        taken = create_backup(Job(self.settings), look_back=False)
        assert {found["code"] for found in taken["findings"]} <= SAID
        self._damage()
        damaged, there = self._dump(), databases_of(self.server)
        try:
            job = Job(self.settings)
            restored = restore_database(job, taken["backup"], in_place_wanted=self.in_place)
        except DatabaseError as error:
            refused = error
        else:
            refused = None
        if refused:
            self.said.append(f"refused: {refused.message} / {refused.hint}")
            assert databases_of(self.server) == there
            assert self._dump() == damaged
            assert self._by_postgresql(whole) != whole, refused.message
            return "PostgreSQL cannot restore it either"
        after = self._dump()
        if after != whole:
            self.said.append(difference(whole, after))
            assert after == self._by_postgresql(whole)
            return "pg_dump writes it otherwise the second time"
        assert self._state() == state
        assert "SCHEMA_DIFFERS" not in {found["code"] for found in restored["findings"]}
        assert restored["rows"] == taken["rows"]
        if (found := self._contents()) != contents:
            # pg_dump puts a parent's columns first, also those that it got after its children
            assert self._by_postgresql(whole) == whole
            assert found == self._contents()
            return "columns stand in another order"
        return "the same"

    def _create(self) -> None:
        name = sql.Identifier(self.made.name)
        refused = ""
        for options in (self.made.options, random_databases.DATABASES[0]):
            create = sql.SQL("CREATE DATABASE {} TEMPLATE template0 " + options).format(name)
            with self.server.connect() as connection:
                refused = connection.pgconn.exec_(create.as_bytes(connection)).error_message
            if not refused:
                self.said.append(f"CREATE DATABASE {options}")
                return
        raise AssertionError(refused)

    def _run(self, what: str, statements: tuple[str, ...], database: str = "") -> None:
        if self.in_place:
            statements = tuple(one for one in statements if not NOT_IN_PLACE.match(one))
            if what == "damage":
                statements = tuple(one for one in statements if not NOT_LATER.match(one))
        refused = random_databases.run(
            self.server, database or self.made.name, BEST["PGOPTIONS"], statements
        )
        reasons = dict(refused)
        for statement in statements:
            self.said.append(f"{what}: {statement}" + f"  -- {reasons.get(statement, '')}")
        event(f"{what}: refused", len(refused))

    def _damage(self) -> None:
        """What happens later; in place the database's own settings stay, beside all come back."""
        self._run("damage", (*self.made.damage, "CREATE TABLE public.later (a integer)"))
        if not self.in_place:
            name = random_databases.ident(self.made.name)
            later = (f"ALTER DATABASE {name} RESET ALL", f"COMMENT ON DATABASE {name} IS 'later'")
            self._run("damage", later, "postgres")

    def _dump(self) -> bytes:
        """All of it, without what differs between two dumps of the same; empty where pg_dump
        fails.
        """
        done = self._program("pg_dump")
        if done.returncode:
            self.said.append(done.stderr.decode(errors="replace"))
            return b""
        return b"\n".join(
            line
            for line in done.stdout.split(b"\n")
            if not line.startswith((b"\\restrict ", b"\\unrestrict "))
        )

    def _state(self) -> list[tuple]:
        """What the database is beside its content: owner, rights, comment, settings, locale."""
        return self.server.execute(_STATE, params=(self.made.name,))

    def _contents(self) -> list[bytes]:
        done = self._program("psql", "-XqAt", given=_CONTENTS.encode())
        return sorted(done.stdout.split(b"\n"))

    def _encoding(self) -> str:
        [(encoding,)] = self.server.execute(
            "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = %s",
            params=(self.made.name,),
        )
        return encoding

    def _program(
        self,
        program: str,
        *arguments: str,
        given: bytes = b"",
    ) -> subprocess.CompletedProcess[bytes]:
        # a connection string: a name may look like one
        dsn = "dbname='{}'".format(self.made.name.replace("\\", "\\\\").replace("'", "\\'"))
        return subprocess.run(
            [self.server.bin_dir / program, *arguments, f"--dbname={dsn}"],
            env=self.server.environment() | BEST | {"PGCLIENTENCODING": self._encoding()},
            input=given,
            capture_output=True,
            check=False,
        )

    def _by_postgresql(self, whole: bytes) -> bytes:
        """What comes of it by psql and the dump alone; empty where that fails."""
        drop(self.server, self.made.name)
        self._create()
        done = self._program("psql", "-Xq", "--set=ON_ERROR_STOP=1", given=whole)
        self.said.append(f"psql: {done.returncode} {done.stderr.decode(errors='replace')}")
        return b"" if done.returncode else self._dump()


def difference(one: bytes, other: bytes) -> str:
    """The first lines that differ."""
    ours, theirs = one.split(b"\n"), other.split(b"\n")
    pairs = [pair for pair in zip(ours, theirs, strict=False) if pair[0] != pair[1]]
    return f"{len(ours)} and {len(theirs)} lines; {pairs[:3]}"
