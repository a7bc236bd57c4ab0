"""Marks that stand where they should not: on databases that somebody has adopted, and on the live
one.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from ..findings import Finding, finding
from . import mark
from .connection import values
from .databases import comment_on
from .replaced import marked

_KINDS = (mark.KEPT, mark.SIDE, mark.COPY, mark.ROWS)


def adopted(connection: psycopg.Connection, database: str) -> list[Finding]:
    """REPLACED_ADOPTED for each database that carries a mark of ``database`` and is not ours: it
    was renamed, or is a copy of one from elsewhere.
    """
    found = []
    for there, its in marked(connection, database, _KINDS, ours=False):
        made = "kept" if its.kind == mark.KEPT else "made"
        statement = sql.SQL("COMMENT ON DATABASE {} IS {};").format(
            sql.Identifier(there.name), sql.Literal(its.comment)
        )
        message = (
            f"{there.name} says that a restore of {database} {made} it, but it has another "
            "name, or is a copy: somebody has adopted it. It is never dropped, and no undo "
            f"takes it. To end this message: {statement.as_string(connection)}"
        )
        found.append(finding("REPLACED_ADOPTED", message, database=database))
    return found


def take_mark_off(connection: psycopg.Connection, database: str) -> bool:
    """Give the live database its own comment back where it carries a mark of ours: somebody has
    renamed a kept one back, or restored the comment with a dump.

    :return: whether it did; not where it may not.
    """
    comment = values(
        connection,
        str,
        """
        SELECT comment FROM pg_database d, shobj_description(d.oid, 'pg_database') AS comment
        WHERE datname = %s AND comment IS NOT NULL AND pg_has_role(datdba, 'USAGE')""",
        (database,),
    )
    if not comment or mark.read(comment[0]) is None:
        return False
    comment_on(connection, database, mark.own_comment(comment[0]))
    return True
