"""The definitions of tables that are gone: made again as in the backup, with the rights that they
had there and no others, and numbers that are not given out again.
"""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Sequence

import psycopg
from psycopg import sql

from ..errors import DatabaseError
from ..postgresql.connection import own_search_path, row, rows, value, values
from ..postgresql.programs import Programs
from .table import Table
from .table_names import Relation

#: a table that is gone: it, its partitions, and the sequences that belong to them
_MADE = """
WITH tables AS (
    SELECT relid::oid AS oid FROM pg_partition_tree(%(oid)s) UNION SELECT %(oid)s::oid)
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid IN (SELECT oid FROM tables) OR c.relkind = 'S' AND c.oid IN (
    SELECT d.objid FROM pg_depend d JOIN tables t ON t.oid = d.refobjid
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
      AND d.deptype IN ('a', 'i'))
ORDER BY c.oid"""


@dataclasses.dataclass(frozen=True)
class Made(Relation):
    """A table, a partition or a sequence that comes back; ``oid`` in the side database."""


def made_with(side: psycopg.Connection, tables: Sequence[Table]) -> list[Made]:
    """All relations that these tables, which are gone, come back with."""
    return [made for table in tables for made in rows(side, Made, _MADE, {"oid": table.side_oid})]


def run_definitions(
    tools: Programs,
    side_database: str,
    live: psycopg.Connection,
    made: Sequence[Made],
    section: str,
) -> None:
    """The definitions of what is gone, as pg_dump writes them from the side database."""
    if not made:
        return
    patterns = [
        f"--table={relation.identifier.as_string(live)}"
        for relation in made
        if relation.kind != "S"  # they come with their tables
    ]
    with tools.start(
        "pg_dump",
        side_database,
        f"--section={section}",
        *patterns,
        stdout=subprocess.PIPE,
        encoding=live.info.parameter_status("client_encoding") or "",  # the names above, too
    ) as process:
        text = process.stdout.read()
        process.check()
    # at line feeds alone: Python knows more ends of lines, which may stand in a name or a text
    lines = [
        line
        for line in text.split(b"\n")
        if not line.startswith((b"\\restrict ", b"\\unrestrict "))
    ]
    live.execute(b"\n".join(lines))
    own_search_path(live)


@dataclasses.dataclass(frozen=True)
class _Right:
    """``column``: empty for the whole relation."""

    column: str
    grantor: str
    grantee: str
    privilege: str
    grantable: bool


_RIGHTS = """
SELECT x.name AS column, pg_get_userbyid(a.grantor)::text AS grantor,
       CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee)::text END AS grantee,
       a.privilege_type AS privilege, a.is_grantable AS grantable
FROM (
    SELECT '' AS name, coalesce(c.relacl, acldefault(
        CASE c.relkind WHEN 'S' THEN 's'::"char" ELSE 'r'::"char" END, c.relowner)) AS acl
    FROM pg_class c WHERE c.oid = %(oid)s
    UNION ALL
    SELECT attname::text, attacl FROM pg_attribute
    WHERE attrelid = %(oid)s AND attacl IS NOT NULL AND NOT attisdropped) x
CROSS JOIN aclexplode(x.acl) a ORDER BY 1, 2, 3, 4, 5"""


def set_rights(side: psycopg.Connection, live: psycopg.Connection, made: Made) -> None:
    """Take back what the live database's default privileges have granted beyond the backup.

    :raises DatabaseError: the rights are not those of the backup after all.
    """
    here = value(live, int, "SELECT to_regclass(%s)::oid", (made.identifier.as_string(live),))
    wanted = rows(side, _Right, _RIGHTS, {"oid": made.oid})
    for right in rows(live, _Right, _RIGHTS, {"oid": here}):
        if right in wanted:
            continue
        only = dataclasses.replace(right, grantable=False) in wanted
        live.execute(
            sql.SQL("REVOKE {}{} {} ON {} {} FROM {}").format(
                sql.SQL("GRANT OPTION FOR " if only else ""),
                sql.SQL(right.privilege),
                sql.SQL("({})").format(sql.Identifier(right.column))
                if right.column
                else sql.SQL(""),
                sql.SQL("SEQUENCE" if made.kind == "S" else "TABLE"),
                made.identifier,
                sql.Identifier(right.grantee) if right.grantee else sql.SQL("PUBLIC"),
            )
        )
    if rows(live, _Right, _RIGHTS, {"oid": here}) != wanted:
        raise DatabaseError(
            f"Failed to give {made.schema}.{made.name} the rights that it had in the backup: "
            "this database's default privileges grant others (ALTER DEFAULT PRIVILEGES)",
            "Bring it back as a superuser (backup_db_user). Nothing was changed",
        )


@dataclasses.dataclass(frozen=True)
class _Position:
    last_value: int
    is_called: bool


def set_sequence(side: psycopg.Connection, live: psycopg.Connection, made: Made) -> None:
    """A sequence goes on where it stood in the backup."""
    if made.kind != "S":
        return
    stood = row(
        side,
        _Position,
        sql.SQL("SELECT last_value, is_called FROM {}").format(made.identifier),
    )
    if stood:
        live.execute(
            "SELECT setval(%s::regclass, %s, %s)",
            (made.identifier.as_string(live), stood.last_value, stood.is_called),
        )


_MOVE_ON = """
SELECT setval({name}, top.n)
FROM {sequence} now, pg_sequence s, LATERAL (
    SELECT CASE WHEN s.seqincrement > 0 THEN max({column}) ELSE min({column}) END AS n
    FROM {table}) top
WHERE s.seqrelid = {name}::regclass AND top.n BETWEEN s.seqmin AND s.seqmax
  AND ((top.n - now.last_value) * sign(s.seqincrement) > 0
       OR (top.n = now.last_value AND NOT now.is_called))"""
_INTEGERS = ("smallint", "integer", "bigint")


def move_sequences_on(live: psycopg.Connection, table: Table) -> None:
    """Numbers that the table's rows have used are not given out again."""
    for column in table.columns:
        if column.generated or column.type not in _INTEGERS:
            continue
        [owned] = values(
            live,
            object,
            "SELECT pg_get_serial_sequence(%s, %s)",
            (table.identifier.as_string(live), column.name),
        )
        if isinstance(owned, str):
            live.execute(
                sql.SQL(_MOVE_ON).format(
                    name=sql.Literal(owned),
                    column=sql.Identifier(column.name),
                    table=table.identifier,
                    sequence=sql.SQL(owned),
                )
            )
