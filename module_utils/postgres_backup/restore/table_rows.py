"""The rows of one table that is brought back alone: how they are staged, compared, written.

They go from the side database into a staging table of the live one, a temporary table that the
transaction takes with it. Both sessions write values alike (:data:`..postgresql.session.COMMON`).

Only rows that differ are written. Those that came after the backup are deleted first, and with
them those that differ in a fixed column (:class:`~.table.Table`), which are then inserted anew: so
no update touches a value that something else may refer to, and no two rows meet on their way.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypedDict

import psycopg
from psycopg import sql

from ..errors import DatabaseError
from ..postgresql.connection import first_line, value
from .table import Table

#: row security must hide none
EVERY_ROW = "SET row_security = off"


class TableResult(TypedDict):
    """What became of a table; ``created``: it was gone."""

    table: str
    rows: int
    inserted: int
    updated: int
    deleted: int
    created: bool


@dataclasses.dataclass(frozen=True)
class Change:
    """What makes a live table equal to the backup's.

    :param rows: in the backup.
    :param doomed: how many live rows are deleted on the way, ``deleted`` and such that come again.
    """

    table: Table
    rows: int
    inserted: int
    updated: int = 0
    deleted: int = 0
    doomed: int = dataclasses.field(default=0, compare=False)

    @property
    def total(self) -> int:
        return self.inserted + self.updated + self.deleted

    def describe(self) -> TableResult:
        return {
            "table": self.table.label,
            "rows": self.rows,
            "inserted": self.inserted,
            "updated": self.updated,
            "deleted": self.deleted,
            "created": self.table.live_oid is None,
        }


def change_of(side: psycopg.Connection, live: psycopg.Connection, table: Table) -> Change:
    """Stage a table's rows, and find out in which the live one differs; one that is gone needs no
    staging, and differs in all.
    """
    if table.live_oid is None:
        count = value(side, int, sql.SQL("SELECT count(*) FROM {}").format(table.side))
        return Change(table, count, inserted=count)
    make_like(live, table, table.staging)
    try:
        copy(side, live, table, table.staging)
    except (psycopg.errors.DataError, psycopg.errors.IntegrityError) as error:
        raise DatabaseError(
            f"Failed to bring back {table.label}: a row of the backup is not of the types that its "
            f"columns have now: {first_line(error)}",
            "A domain, an enum or another type was changed since: change it back, type the same "
            "again; or restore the whole database. Nothing was changed",
        ) from None
    return differences(live, table)


def make_like(live: psycopg.Connection, table: Table, name: sql.Identifier) -> None:
    """A temporary table for rows of this one."""
    live.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0").format(
            name, listed(table.stored), table.identifier
        )
    )


def differences(live: psycopg.Connection, table: Table) -> Change:
    """In which rows the live table differs from those that are staged."""
    live.execute(sql.SQL("ANALYZE {}").format(table.staging))
    doomed = _DOOMED if table.key else _DOOMED_WITHOUT_KEY
    live.execute(_filled(f"CREATE TEMPORARY TABLE {{doomed}} ON COMMIT DROP AS {doomed}", table))
    live.execute(sql.SQL("ANALYZE {}").format(table.doomed))
    if table.carries:
        made = f"CREATE TEMPORARY TABLE {{carried}} ON COMMIT DROP AS {_CARRIED}"
        live.execute(_filled(made, table))
    count = value(live, int, _filled("SELECT count(*) FROM {doomed}", table))
    return dataclasses.replace(_compared(live, table), doomed=count)


def copy(
    side: psycopg.Connection, live: psycopg.Connection, table: Table, target: sql.Identifier
) -> None:
    """All rows of the backup into a table of the live database."""
    columns = listed(table.stored)
    out = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(columns, table.side)
    pour(side, out, live, into(table, target))


def into(table: Table, target: sql.Identifier) -> sql.Composed:
    """What takes rows of a table by COPY."""
    if not table.stored:
        return sql.SQL("COPY {} FROM STDIN").format(target)
    return sql.SQL("COPY {} ({}) FROM STDIN").format(target, listed(table.stored))


def pour(
    source: psycopg.Connection, out: sql.Composed, target: psycopg.Connection, into: sql.Composed
) -> None:
    """Rows from one database into another, by their two COPY statements."""
    with source.cursor().copy(out) as lines, target.cursor().copy(into) as sink:
        for line in lines:
            sink.write(line)


# l is the live table, s the staging one; rows are compared as text, since not every type (json,
# xml, point) knows equality, and others (citext, numeric) call equal what reads differently
_LATER = "{live} l WHERE NOT EXISTS (SELECT FROM {staging} s WHERE {same})"
_ABSENT = "{staging} s WHERE NOT EXISTS (SELECT FROM {live} l WHERE {same})"
_DIFFERENT = """{staging} s JOIN {live} l ON {same}
    WHERE ROW({all_s})::text IS DISTINCT FROM ROW({all_l})::text"""
_SAME = "ROW({all_s})::text IS NOT DISTINCT FROM ROW({all_l})::text"
_FIXED_DIFFER = """{staging} s JOIN {live} l ON {same}
    WHERE ROW({fixed_s})::text IS DISTINCT FROM ROW({fixed_l})::text"""
# without a key nothing but their whole content, and how often it is there, tells rows apart
_NUMBERED = """(
    SELECT relation, at, x, row_number() OVER (PARTITION BY x) AS n FROM (
        SELECT tableoid AS relation, ctid AS at, ROW({all})::text COLLATE "C" AS x FROM %s) r)"""
_COUNTED = """(
    SELECT ROW({all})::text COLLATE "C" AS x, count(*) AS n FROM %s GROUP BY 1)"""
_LATER_WITHOUT_KEY = f"""{_NUMBERED % "{live}"} l LEFT JOIN {_COUNTED % "{staging}"} s ON s.x = l.x
    WHERE l.n > coalesce(s.n, 0)"""
_ABSENT_WITHOUT_KEY = f"""{{staging}} s WHERE s.ctid IN (
    SELECT s.at FROM {_NUMBERED % "{staging}"} s LEFT JOIN {_COUNTED % "{live}"} l ON l.x = s.x
    WHERE s.n > coalesce(l.n, 0))"""
_DOOMED = f"""
SELECT l.tableoid AS relation, l.ctid AS at, true AS later FROM {_LATER}
UNION ALL SELECT l.tableoid, l.ctid, false FROM {_FIXED_DIFFER}"""
# what only the live table knows of rows that are deleted on the way and come again
_CARRIED = f"SELECT {{key_l}}, {{added_l}} FROM {_FIXED_DIFFER}"
_DOOMED_WITHOUT_KEY = f"SELECT l.relation, l.at, true AS later FROM {_LATER_WITHOUT_KEY}"


_INSERT_CARRIED = """
INSERT INTO {target} AS t ({all}, {added}) OVERRIDING SYSTEM VALUE
SELECT {all_s}, {added_l} FROM {staging} s JOIN {carried} l ON {same}"""


@dataclasses.dataclass(frozen=True)
class Source:
    """Rows of a table, as a query with these columns."""

    columns: list[str]
    query: sql.Composed


def to_be_written(table: Table) -> list[Source]:
    """The backup's rows that are inserted or set back, with what the live table has beside them."""
    if not table.key:
        return [
            Source(table.stored, _filled(f"SELECT {{all_s}} FROM {_ABSENT_WITHOUT_KEY}", table))
        ]
    absent = _filled(f"SELECT {{all_s}} FROM {_ABSENT}", table)
    different = f"SELECT {_listed_both(table)} FROM {_DIFFERENT}"
    return [
        Source(table.stored, absent),
        Source([*table.stored, *table.added], _filled(different, table)),
    ]


def staying(table: Table) -> Source:
    """The live rows that are right already."""
    query = "SELECT {all_l}" + (", {added_l}" if table.added else "") + " FROM "
    query += (
        f"{{staging}} s JOIN {{live}} l ON {{same}} WHERE {_SAME}"
        if table.key
        else (
            "{live} l WHERE NOT EXISTS "
            "(SELECT FROM {doomed} d WHERE d.relation = l.tableoid AND d.at = l.ctid)"
        )
    )
    return Source([*table.stored, *table.added], _filled(query, table))


def _listed_both(table: Table) -> str:
    return "{all_s}" + (", {added_l}" if table.added else "")


def _filled(query: str, table: Table) -> sql.Composed:
    return sql.SQL(query).format(
        live=table.live,
        target=table.identifier,
        staging=table.staging,
        doomed=table.doomed,
        carried=table.carried,
        same=table.same_key(),
        same_t=table.same_key("t"),
        before=table.before,
        after=table.after,
        all=listed(table.stored),
        all_t=listed(table.stored, "t"),
        added_t=listed(table.added, "t"),
        all_s=listed(table.stored, "s"),
        all_l=listed(table.stored, "l"),
        key_l=listed(table.key, "l"),
        added=listed(table.added),
        added_l=listed(table.added, "l"),
        fixed_s=listed(table.fixed, "s"),
        fixed_l=listed(table.fixed, "l"),
        set_back=sql.SQL(", ").join(
            sql.SQL("{0} = s.{0}").format(sql.Identifier(name)) for name in table.changeable
        ),
    )


def _compared(live: psycopg.Connection, table: Table) -> Change:
    def count(which: str) -> int:
        return value(live, int, _filled(f"SELECT count(*) FROM {which}", table))

    staged = count("{staging}")
    if table.key:
        return Change(table, staged, count(_ABSENT), count(_DIFFERENT), count(_LATER))
    return Change(table, staged, count(_ABSENT_WITHOUT_KEY), deleted=count(_LATER_WITHOUT_KEY))


def listed(columns: Sequence[str], alias: str = "") -> sql.Composed:
    """Columns, quoted, with commas between them."""
    prefix = [alias] if alias else []
    return sql.SQL(", ").join(sql.Identifier(*prefix, column) for column in columns)


def note_before(live: psycopg.Connection, table: Table) -> None:
    """Set aside how the rows are that are going to be changed, and make room for what is written in
    their place.
    """
    held = "{all_t}" + (", {added_t}" if table.added else "")
    if table.key:
        before = f"""SELECT {held} FROM {{live}} t WHERE (t.tableoid, t.ctid) IN (
            SELECT l.tableoid, l.ctid FROM {_LATER} UNION ALL
            SELECT l.tableoid, l.ctid FROM {_DIFFERENT})"""
    else:
        before = f"""SELECT {held} FROM {{live}} t JOIN {{doomed}} d
            ON t.tableoid = d.relation AND t.ctid = d.at"""
    live.execute(_filled(f"CREATE TEMPORARY TABLE {{before}} ON COMMIT DROP AS {before}", table))
    live.execute(
        _filled(
            f"""CREATE TEMPORARY TABLE {{after}} ON COMMIT DROP AS
            SELECT {held} FROM {{live}} t LIMIT 0""",
            table,
        )
    )


def stage_without(live: psycopg.Connection, table: Table) -> tuple[int, int]:
    """Stage what a live table holds, without the rows of ``after`` and with those of ``before``.

    :return: how many of ``after`` are not there, and how many of ``before`` meet rows with their
        keys; what is staged counts for nothing then.
    """
    make_like(live, table, table.staging)
    swapped = dataclasses.replace(table, staging=table.after)
    rest = f"""SELECT {{all_t}} FROM {{live}} t JOIN (
        SELECT l.relation, l.at FROM {_LATER_WITHOUT_KEY}) d
        ON t.tableoid = d.relation AND t.ctid = d.at"""
    columns = listed(table.stored)
    into = (
        sql.SQL("INSERT INTO {} ({}) ").format(table.staging, columns)
        if table.stored
        else (sql.SQL("INSERT INTO {} ").format(table.staging))
    )
    live.execute(into + _filled(rest, swapped))
    query = """SELECT (SELECT count(*) FROM {staging}) - (SELECT count(*) FROM {live})
        + (SELECT count(*) FROM {after})"""
    lost = value(live, int, _filled(query, table))
    taken = 0
    if table.key and not lost:
        query = "SELECT count(*) FROM {before} l JOIN {staging} s ON {same}"
        taken = value(live, int, _filled(query, table))
    live.execute(into + _filled("SELECT {all} FROM {before}", table))
    return lost, taken


def delete_doomed(live: psycopg.Connection, change: Change) -> None:
    """Delete the rows that came after the backup, and those that are inserted anew."""
    if change.doomed:
        query = (
            "DELETE FROM {live} l USING {doomed} d WHERE l.tableoid = d.relation AND l.ctid = d.at"
        )
        live.execute(_filled(query, change.table))


def merge(live: psycopg.Connection, change: Change) -> None:
    """Insert the missing rows, and set those that differ back, from the staging table.

    In this order: a row that is set back may refer to one that was missing, in the same table.
    """
    table = change.table
    if change.inserted or change.doomed:
        if table.carries:
            _write(live, table, _INSERT_CARRIED)
        columns = "({all})" if table.stored else ""
        absent = _ABSENT if table.key else _ABSENT_WITHOUT_KEY
        insert = "INSERT INTO {target} AS t " + columns + " OVERRIDING SYSTEM VALUE SELECT {all_s}"
        _write(live, table, f"{insert} FROM {absent}")
    if change.updated and table.changeable:
        query = """UPDATE {live} t SET {set_back} FROM {staging} s
            WHERE {same_t} AND ROW({all_s})::text IS DISTINCT FROM ROW({all_t})::text"""
        _write(live, table, query)


def _write(live: psycopg.Connection, table: Table, statement: str) -> None:
    """Run what inserts into, or updates, a table called ``t``, and note what it has written."""
    if not table.held:
        live.execute(_filled(statement, table))
        return
    held = "{all_t}" + (", {added_t}" if table.added else "")
    noted = f"WITH written AS ({statement} RETURNING {held}) INSERT INTO {{after}} TABLE written"
    live.execute(_filled(noted, table))


def require_equal(live: psycopg.Connection, table: Table) -> None:
    """:raises DatabaseError: something (a domain, a collation) made other rows of ours."""
    left = _compared(live, table).total
    if left:
        raise DatabaseError(
            f"Failed to bring back {table.label}: {left} rows are not as in the backup after all",
            "Restore the whole database. Nothing was changed",
        )
