"""The columns of a table that is brought back, as they are in the backup and as they are now."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import psycopg
from psycopg import sql

from ..errors import UsageError
from ..postgresql.connection import rows


@dataclasses.dataclass(frozen=True)
class Column:
    """A column.

    :param generated: it holds no data of its own.
    :param always: an identity that only an INSERT may override.
    """

    name: str
    type: str
    generated: bool
    always: bool


_COLUMNS = """
SELECT attname AS name, format_type(atttypid, atttypmod) AS type,
       attgenerated <> '' AS generated, attidentity = 'a' AS always
FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""


def columns_of(connection: psycopg.Connection, relation: int) -> list[Column]:
    """In their order."""
    return rows(connection, Column, _COLUMNS, (relation,))


def added_since(
    before: Sequence[Column], now: Sequence[Column], table: sql.Identifier, label: str, backup: str
) -> tuple[str, ...]:
    """The columns that hold data and that the backup does not know: they keep what they hold, and
    have their default in rows that come back.

    :param table: in the live database, for the statements of a hint; ``label``: for the message.
    :raises UsageError: a column of the backup is gone, or of another kind now: its values have no
        place.
    """
    there = {column.name: column for column in now}
    known = {column.name for column in before}
    new = [column for column in now if column.name not in known and not column.generated]
    gone = [column for column in before if column.name not in there]
    other = [
        column
        for column in before
        if column.name in there and _kind(there[column.name]) != _kind(column)
    ]
    if not gone and not other:
        return tuple(column.name for column in new)
    said = [f"{column.name} is gone" for column in gone]
    said += [
        f"{column.name} was {_described(column)} and is {_described(there[column.name])}"
        for column in other
    ]
    raise UsageError(
        f"{label} has other columns now than in {backup}: {', '.join(said)}",
        f"Make it fit, type the same again, and change it back: {_way_out(gone, other, new, table)}"
        " Or restore the whole database, and copy what you need by hand",
    )


def _way_out(
    gone: Sequence[Column], other: Sequence[Column], new: Sequence[Column], table: sql.Identifier
) -> str:
    """The statements that make a live table fit."""
    name = table.as_string(None)
    renamed = [column.type for column in new] == [column.type for column in gone] and len(gone) == 1
    statements = []
    if renamed:  # it may well be the same under another name
        old, now = (sql.Identifier(column.name).as_string(None) for column in (gone[0], new[0]))
        statements.append(f"ALTER TABLE {name} RENAME COLUMN {now} TO {old};")
    for column in [] if renamed else gone:
        added = sql.Identifier(column.name).as_string(None)
        statements.append(f"ALTER TABLE {name} ADD COLUMN {added} {column.type};")
    for column in other:
        changed = sql.Identifier(column.name).as_string(None)
        statements.append(f"ALTER TABLE {name} ALTER COLUMN {changed} TYPE {column.type};")
    return " ".join(statements)


def _kind(column: Column) -> tuple[str, bool]:
    return column.type, column.generated


def _described(column: Column) -> str:
    return column.type + (" (generated)" if column.generated else "")
