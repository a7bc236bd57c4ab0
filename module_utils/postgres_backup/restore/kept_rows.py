"""The rows that a restore of tables has changed, kept in a database of their own: how they were
before, and what was written in their place. An undo takes them back.

Values are kept as text, so that the database needs no type of the application's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import sql

from ..job import Job
from ..postgresql import databases, replaced, written
from ..postgresql.connection import connect, connect_maintenance, row, rows, values
from ..postgresql.facts import DatabaseFacts
from . import table_rows
from .columns import Column, columns_of
from .table_names import find
from .table_rows import Change, listed

_MADE = """
CREATE TABLE changed_tables (number int PRIMARY KEY, schema text, name text, columns text[],
    types text[], created bool, rows bigint, fingerprint text);
CREATE TABLE made_keys (schema text, name text, key text)"""


@dataclasses.dataclass(frozen=True)
class KeptTable:
    """A table that was changed.

    :param columns: those that hold data, with their ``types``.
    :param created: it was gone, and made again, with so many ``rows`` of this ``fingerprint``.
    """

    number: int
    schema: str
    name: str
    columns: list[str]
    types: list[str]
    created: bool
    rows: int
    fingerprint: str

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def before(self) -> sql.Identifier:
        return sql.Identifier(f"before_{self.number}")

    @property
    def after(self) -> sql.Identifier:
        return sql.Identifier(f"after_{self.number}")


@dataclasses.dataclass(frozen=True)
class MadeKey:
    """A foreign key of a table that was there, made again with the table that it refers to."""

    schema: str
    name: str
    key: str


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """All rows of a table, in whatever order."""

    rows: int
    fingerprint: str


_FINGERPRINT = """
SELECT count(*) AS rows,
       coalesce(sum(hashtextextended(ROW({columns})::text, 0)::numeric), 0)::text AS fingerprint
FROM {table}"""


def fingerprint(
    live: psycopg.Connection, table: sql.Composable, columns: Sequence[str]
) -> Fingerprint:
    """What a table holds now."""
    query = sql.SQL(_FINGERPRINT).format(columns=listed(columns), table=table)
    return row(live, Fingerprint, query) or Fingerprint(0, "")


@contextmanager
def begun(job: Job, live: DatabaseFacts) -> Iterator[str]:
    """A new database for rows; it is gone again where :func:`finish` has not made it one of ours by
    the end.

    :param live: what the live database is like: its encoding and locale.
    """
    with connect_maintenance(job.settings, job.database) as connection:
        name = replaced.rows_name(connection, job.database)
        wanted = DatabaseFacts(
            owner=job.settings.db_user,
            encoding=live.encoding,
            collate=live.collate,
            ctype=live.ctype,
            provider=live.provider,
            locale=live.locale,
            icu_rules=live.icu_rules,
        )
        databases.create_database(
            connection, name, wanted, lambda: replaced.rows_comment(connection, job.database, name)
        )
        connection.execute(
            sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
        )
    try:
        yield name
    finally:
        with connect_maintenance(job.settings, job.database) as connection:
            if name in replaced.leftovers(connection, job.database):
                databases.drop_database(connection, name)


def keep(
    job: Job,
    name: str,
    live: psycopg.Connection,
    changes: Sequence[Change],
    keys: Sequence[MadeKey] = (),
) -> None:
    """Write down what the transaction of ``live`` has changed.

    :param keys: those that it has made beside the tables.
    """
    with connect(job.settings, name) as kept, kept.transaction():
        kept.execute(_MADE)
        for number, change in enumerate(changes):
            _keep_one(kept, live, number, change)
        for key in keys:
            kept.execute("INSERT INTO made_keys VALUES (%s, %s, %s)", dataclasses.astuple(key))


def _keep_one(
    kept: psycopg.Connection, live: psycopg.Connection, number: int, change: Change
) -> None:
    table = change.table
    created = table.live_oid is None
    columns = table.held
    there = list(table.live_columns)
    what = Fingerprint(0, "")
    if created:
        made = find(live, table.identifier.as_string(live))
        # those that it inherits may be more than in the backup
        there = columns_of(live, made.oid) if made else []
        columns = [column.name for column in there if not column.generated]
        what = fingerprint(live, table.identifier, columns)
    types = {column.name: column.type for column in there}
    one = KeptTable(
        number,
        table.schema,
        table.name,
        columns,
        [types[name] for name in columns],
        created,
        what.rows,
        what.fingerprint,
    )
    kept.execute(
        "INSERT INTO changed_tables VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        dataclasses.astuple(one),
    )
    if created:
        return
    for source, target in ((table.before, one.before), (table.after, one.after)):
        texts = sql.SQL(", ").join(
            sql.SQL("{} text").format(sql.Identifier(column)) for column in columns
        )
        kept.execute(sql.SQL("CREATE TABLE {} ({})").format(target, texts))
        out = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(listed(columns), source)
        into = sql.SQL("COPY {} FROM STDIN").format(target)
        table_rows.pour(live, out, kept, into)


def finish(job: Job, name: str, live: psycopg.Connection, by: str, database: str) -> None:
    """Make the database one of those that are kept, in the transaction of ``live``.

    :param by: what has changed the rows: ``restore of tables from FILE``.
    """
    with connect(job.settings, name) as kept:
        seen = written.stamp(kept)
    seen |= written.count(job.settings, name)
    comment = replaced.rows_comment(live, database, name, by, seen)
    databases.comment_on(live, name, comment)


def tables_in(kept: psycopg.Connection) -> list[KeptTable]:
    """The tables that were changed, in the order in which they were written."""
    return rows(kept, KeptTable, "SELECT * FROM changed_tables ORDER BY number")


def keys_in(kept: psycopg.Connection) -> list[MadeKey]:
    """The foreign keys that were made; none are known of what was kept before they were noted."""
    if not values(kept, int, "SELECT 1 WHERE to_regclass('made_keys') IS NOT NULL"):
        return []
    return rows(kept, MadeKey, "SELECT * FROM made_keys")


def columns_fit(one: KeptTable, now: Sequence[Column]) -> bool:
    """Whether the live table still has the columns that were kept, and no others."""
    there = [(column.name, column.type) for column in now if not column.generated]
    return sorted(there) == sorted(zip(one.columns, one.types, strict=True))
