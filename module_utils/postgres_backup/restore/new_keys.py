"""The foreign keys of tables that are made again: whether their rows still belong to something is
asked before anything is made.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from ..errors import DatabaseError
from ..postgresql.connection import value
from .foreign_keys import ForeignKey, keys_of
from .key_effects import end_of
from .table import only
from .table_names import find
from .table_rows import Change, listed


def require_parents(
    side: psycopg.Connection,
    live: psycopg.Connection,
    changes: Sequence[Change],
    made: Sequence[int],
) -> None:
    """See that the rows of tables that are gone refer to rows that will be there.

    :param changes: of the tables that exist, which are staged.
    :param made: what is made again, by its ids in the side database.
    :raises DatabaseError: some would refer to nothing.
    """
    said, also = [], []
    for number, key in enumerate(keys_of(side, made)):
        if key.child not in made or key.parent in made or not key.validated:
            continue
        count = _orphans(side, live, key, changes, number)
        if count:
            said.append(
                f"{count} rows of {key.child_name} in the backup belong to rows of "
                f"{key.parent_name} that are not there now ({key.name})"
            )
            also.append(key.parent_name)
    if said:
        raise DatabaseError(
            f"Failed to bring the tables back: {'; '.join(said)}",
            f"Name those tables too: tables=...,{','.join(dict.fromkeys(also))}; or restore the "
            "whole database. Nothing was changed",
        )


_NAME = """
SELECT format('%%I.%%I', nspname, relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %s"""


def _orphans(
    side: psycopg.Connection,
    live: psycopg.Connection,
    key: ForeignKey,
    changes: Sequence[Change],
    number: int,
) -> int:
    """How many rows of the child refer to nothing; those of a parent that is not there are counted
    by whoever makes the key.
    """
    name = value(side, str, _NAME, (key.parent,))
    parent = find(live, name)
    if parent is None:
        return 0
    source = only(parent.identifier, parent.kind == "p")
    end = end_of(live, changes, parent.oid, source, key.parent_columns)
    at_last = end.at_last() if end.parts else end.all()
    refers = sql.Identifier(f"postgres_backup_refers_{number}")
    live.execute(
        sql.SQL(
            "CREATE TEMPORARY TABLE {} ON COMMIT DROP AS "
            "SELECT {}, 0::bigint AS postgres_backup_rows FROM {} LIMIT 0"
        ).format(
            refers,
            sql.SQL(", ").join(
                sql.SQL("{} AS {}").format(sql.Identifier(old), sql.Identifier(new))
                for old, new in zip(key.parent_columns, key.child_columns, strict=True)
            ),
            source,
        )
    )
    given = sql.SQL(" AND ").join(
        sql.SQL("{} IS NOT NULL").format(sql.Identifier(column)) for column in key.child_columns
    )
    out = sql.SQL("COPY (SELECT {0}, count(*) FROM {1} WHERE {2} GROUP BY {0}) TO STDOUT").format(
        listed(key.child_columns), key.child_rows(), given
    )
    into = sql.SQL("COPY {} FROM STDIN").format(refers)
    with side.cursor().copy(out) as lines, live.cursor().copy(into) as sink:
        for line in lines:
            sink.write(line)
    query = sql.SQL(
        "SELECT coalesce(sum(postgres_backup_rows), 0)::bigint FROM {} c "
        "WHERE NOT EXISTS (SELECT FROM ({}) p WHERE {})"
    )
    return value(live, int, query.format(refers, at_last, key.match("p")))
