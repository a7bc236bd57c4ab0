"""The table that a person means by a name, and what stands under that name now."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import psycopg
from psycopg import sql

from ..errors import UsageError
from ..postgresql.connection import row, rows, values
from ..text import nearest

#: what is a table: others are views and the like
TABLES = ("r", "p")
#: as a message calls what is no table
KINDS = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "c": "a type",
    "i": "an index",
    "I": "an index",
}


@dataclasses.dataclass(frozen=True)
class Relation:
    """Something in ``pg_class``; ``kind``: its ``relkind``."""

    oid: int
    schema: str
    name: str
    kind: str

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)


_RELATION = """
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE """
_TABLE = _RELATION + "c.oid = to_regclass(%s)"
_ELSEWHERE = (
    _RELATION
    + """ARRAY[c.relname::text] = parse_ident(%s)
  AND c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
ORDER BY 2"""
)
_ALL = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"""


def named(side: psycopg.Connection, wanted: str, backup: str) -> Relation:
    """The table of the backup that is meant: as the search path of its database finds it, or else
    the only one of that name in any schema.

    :param side: the backup, loaded.
    :param backup: its name, for a message.
    :raises UsageError: there is none, or there are several.
    """
    found = find(side, wanted)
    if found is not None and found.kind in TABLES:
        return found
    elsewhere = rows(side, Relation, _ELSEWHERE, (wanted,)) if found is None else []
    if len(elsewhere) == 1:
        return elsewhere[0]
    if elsewhere:
        names = ", ".join(other.identifier.as_string(side) for other in elsewhere)
        raise UsageError(
            f"There are several tables {wanted} in {backup}: {names}", "Name one with its schema"
        )
    raise not_there(wanted, backup, values(side, str, _ALL))


def not_there(wanted: str, backup: str, names: Iterable[str]) -> UsageError:
    """That there is no such table in a backup, which has those of the other names."""
    near = nearest(wanted, names)
    return UsageError(
        f"There is no table {wanted} in {backup}",
        f"The nearest: {', '.join(near)}" if near else "",
    )


def find(connection: psycopg.Connection, wanted: str) -> Relation | None:
    """What has that name; None where there is nothing.

    :raises UsageError: it is not a name.
    """
    try:
        with connection.transaction():
            connection.execute("SELECT parse_ident(%s)", (wanted,))
            return row(connection, Relation, _TABLE, (wanted,))
    except (
        psycopg.errors.SyntaxError,
        psycopg.errors.InvalidName,
        psycopg.errors.InvalidParameterValue,
    ):
        raise UsageError(
            f"{wanted} is not the name of a table",
            'Write it as in SQL: users, public.orders, "My table"',
        ) from None
