"""Foreign keys that are taken off for a moment of the transaction in which tables are brought back,
and put on again exactly as they were: no referential action runs for us, and what they promise is
checked once, at the end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import psycopg
from psycopg import sql

from ..errors import DatabaseError
from ..postgresql.connection import first_line, rows
from .foreign_keys import ForeignKey


@dataclasses.dataclass(frozen=True)
class _Constraint:
    """A key as the catalog has it, or what it is for one partition: all that is to come back."""

    child: int
    child_name: str
    parent: int
    name: str
    definition: str
    validated: bool
    comment: str | None


_FAMILY = """
WITH RECURSIVE family AS (
    SELECT oid FROM pg_constraint WHERE conrelid = %s AND conname = %s
    UNION ALL SELECT k.oid FROM pg_constraint k JOIN family ON k.conparentid = family.oid)
SELECT conrelid AS child, conrelid::regclass::text AS child_name, confrelid AS parent,
       conname AS name, pg_get_constraintdef(k.oid) AS definition, convalidated AS validated,
       obj_description(k.oid, 'pg_constraint') AS comment
FROM pg_constraint k JOIN family USING (oid) ORDER BY conrelid, confrelid, conname"""


@dataclasses.dataclass(frozen=True)
class Loosened:
    """A key that is off.

    :param family: how it was, for itself and every partition.
    """

    key: ForeignKey
    family: list[_Constraint]


def loosen(live: psycopg.Connection, keys: Sequence[ForeignKey]) -> list[Loosened]:
    """Take these keys off."""
    loosened = []
    for key in keys:
        family = rows(live, _Constraint, _FAMILY, (key.child, key.name))
        live.execute(
            sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                sql.SQL(key.child_name), sql.Identifier(key.name)
            )
        )
        loosened.append(Loosened(key, family))
    return loosened


def fasten(live: psycopg.Connection, loosened: Loosened) -> None:
    """Put a key on again, which looks at every row.

    :raises DatabaseError: rows do not fit, or it could not be made as it was.
    """
    key, before = loosened.key, loosened.family
    add(live, key)
    _rename(live, before, rows(live, _Constraint, _FAMILY, (key.child, key.name)))
    for constraint in before:
        if constraint.comment is not None:
            live.execute(
                sql.SQL("COMMENT ON CONSTRAINT {} ON {} IS {}").format(
                    sql.Identifier(constraint.name),
                    sql.SQL(constraint.child_name),
                    sql.Literal(constraint.comment),
                )
            )
    if rows(live, _Constraint, _FAMILY, (key.child, key.name)) != before:
        raise DatabaseError(
            f"Failed to put the foreign key {key.name} of {key.child_name} back as it was",
            "Name its table too, or restore the whole database; nothing was changed",
        )


def add(live: psycopg.Connection, key: ForeignKey) -> None:
    """Make a key, which looks at every row.

    :raises DatabaseError: rows do not fit.
    """
    try:
        live.execute(
            sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
                sql.SQL(key.child_name), sql.Identifier(key.name), sql.SQL(key.definition)
            )
        )
    except psycopg.errors.ForeignKeyViolation as error:
        raise DatabaseError(
            f"Failed to bring the tables back: rows of {key.child_name} would belong to no row of "
            f"{key.parent_name} ({key.name}: {error.diag.message_detail or first_line(error)})",
            f"Name both tables (tables=...,{key.child_name},{key.parent_name}), or restore the "
            "whole database; nothing was changed",
        ) from None


def _rename(
    live: psycopg.Connection, before: Sequence[_Constraint], now: Sequence[_Constraint]
) -> None:
    """What PostgreSQL names by itself, the keys of partitions, may have other names now; in two
    steps, since two may have changed places.
    """
    wanted = {(constraint.child, constraint.parent): constraint.name for constraint in before}
    differ = [
        (constraint, wanted[constraint.child, constraint.parent])
        for constraint in now
        if wanted.get((constraint.child, constraint.parent), constraint.name) != constraint.name
    ]
    steps = [
        *(
            (found.child_name, found.name, f"postgres_backup_{n}")
            for n, (found, _) in enumerate(differ)
        ),
        *(
            (found.child_name, f"postgres_backup_{n}", name)
            for n, (found, name) in enumerate(differ)
        ),
    ]
    for table, old, new in steps:
        live.execute(
            sql.SQL("ALTER TABLE {} RENAME CONSTRAINT {} TO {}").format(
                sql.SQL(table), sql.Identifier(old), sql.Identifier(new)
            )
        )
