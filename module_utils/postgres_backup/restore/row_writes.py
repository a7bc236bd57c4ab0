"""The writing itself: rows of live tables are deleted, inserted and set back, while nothing acts by
itself; foreign keys are checked at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import psycopg
from psycopg import sql

from ..errors import DatabaseError
from ..machine.progress import Progress
from . import table_rows
from .foreign_keys import ForeignKey, holds
from .loosened_keys import fasten, loosen
from .silence import silence
from .table import Table
from .table_rows import Change

#: how long a lock is waited for
PATIENCE = "30s"


def lock(
    live: psycopg.Connection, look: Callable[[], tuple[list[Table], list[ForeignKey]]], check: bool
) -> tuple[list[Table], list[ForeignKey]]:
    """What ``look`` sees, held as it is: whoever reads goes on; whoever writes waits, also to
    tables that refer to these.

    :param check: nobody waits.
    :raises DatabaseError: it was changed just now.
    """
    tables, keys = look()
    if check:
        return tables, keys
    existing = [table for table in tables if table.live_oid is not None]
    names = [table.live for table in existing]
    names += [
        key.child_rows()
        for key in keys
        if key.ours and any(holds(table, key.parent) for table in existing)
    ]
    if names:
        live.execute(
            sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(sql.SQL(", ").join(names))
        )
    if look() != (tables, keys):
        raise DatabaseError(
            "Failed to bring the tables back: somebody changed their definitions meanwhile",
            "Try again; nothing was changed",
        )
    return tables, keys


def put_rows(
    live: psycopg.Connection,
    changes: Sequence[Change],
    in_the_way: Sequence[ForeignKey],
    relations: Sequence[int],
    progress: Progress,
    triggers: bool = False,
    more: Callable[[], None] = lambda: None,
) -> None:
    """Make these changes.

    :param changes: of tables that are there, parents first.
    :param in_the_way: foreign keys that are off meanwhile.
    :param relations: those that are written, whose rules and triggers are silent.
    :param triggers: let the triggers run.
    :param more: called when the rows are in place, and nothing acts yet.
    """
    back = silence(live, relations, triggers)
    loosened = loosen(live, in_the_way)
    for change in changes:
        table_rows.note_before(live, change.table)
    for change in reversed(changes):
        if change.deleted:
            progress.phase(f"deleting {change.deleted} later rows of {change.table.label}")
        table_rows.delete_doomed(live, change)
    for change in changes:
        progress.phase(
            f"bringing back {change.table.label}: "
            f"{change.inserted} rows missing, {change.updated} changed"
        )
        table_rows.merge(live, change)
    more()
    live.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for key in loosened:
        fasten(live, key)
    for statement in back:
        live.execute(statement)
