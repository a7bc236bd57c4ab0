"""What the definition of a table that is gone needs, and what stands in its place by now: asked
before anything is made, so that what cannot come back is said beforehand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import psycopg

from ..errors import UsageError
from ..postgresql.connection import rows, values
from .table_definitions import Made


@dataclasses.dataclass(frozen=True)
class Something:
    """An object as PostgreSQL addresses it, in whichever database.

    :param statement: makes it; empty where there is no single one.
    """

    type: str
    identity: str
    object_names: list[str]
    object_args: list[str]
    statement: str


def is_there(live: psycopg.Connection, wanted: Something) -> bool:
    """Whether this database has it too."""
    try:
        with live.transaction():
            live.execute(
                "SELECT pg_get_object_address(%s, %s, %s)",
                (wanted.type, wanted.object_names, wanted.object_args),
            )
    except psycopg.ProgrammingError:  # each kind has its own error for what is not there
        return False
    return True


# all that belongs to the relations, and then what these name beside each other
_NEEDED = """
WITH RECURSIVE parts (classid, objid) AS (
    SELECT 'pg_class'::regclass::oid, unnest(%(oids)s::oid[])
    UNION
    SELECT d.classid, d.objid FROM parts JOIN pg_depend d
        ON d.refclassid = parts.classid AND d.refobjid = parts.objid
    WHERE d.deptype IN ('a', 'i') AND d.classid IN ('pg_class'::regclass, 'pg_type'::regclass,
        'pg_attrdef'::regclass, 'pg_constraint'::regclass, 'pg_trigger'::regclass,
        'pg_policy'::regclass, 'pg_rewrite'::regclass)
), needed AS (
    SELECT DISTINCT d.refclassid, d.refobjid FROM parts JOIN pg_depend d USING (classid, objid)
    WHERE d.deptype IN ('n', 'a')
      AND (d.refobjid >= 16384 OR d.refclassid = 'pg_namespace'::regclass)
      AND (d.refclassid, d.refobjid) NOT IN (SELECT classid, objid FROM parts)
      -- a key to a partitioned table has a part for each partition that there is, then and now
      AND NOT EXISTS (
          SELECT FROM pg_constraint k WHERE d.classid = 'pg_constraint'::regclass
          AND k.oid = d.objid AND k.contype = 'f' AND k.conparentid <> 0))
SELECT i.type, i.identity, a.object_names, a.object_args, coalesce(
    CASE
    WHEN refclassid = 'pg_namespace'::regclass THEN format('CREATE SCHEMA %%s;', i.identity)
    WHEN c.relkind = 'S' THEN format('CREATE SEQUENCE %%s;', i.identity)
    WHEN t.typtype = 'e' THEN format('CREATE TYPE %%s AS ENUM (%%s);', i.identity,
        (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
         FROM pg_enum WHERE enumtypid = t.oid))
    WHEN p.prokind IN ('f', 'p') THEN pg_get_functiondef(p.oid) || ';'
    END, '') AS statement
FROM needed CROSS JOIN pg_identify_object(refclassid, refobjid, 0) i
CROSS JOIN pg_identify_object_as_address(refclassid, refobjid, 0) a
LEFT JOIN pg_class c ON refclassid = 'pg_class'::regclass AND c.oid = refobjid
LEFT JOIN pg_type t ON refclassid = 'pg_type'::regclass AND t.oid = refobjid
LEFT JOIN pg_proc p ON refclassid = 'pg_proc'::regclass AND p.oid = refobjid
ORDER BY refclassid <> 'pg_namespace'::regclass, refobjid"""


@dataclasses.dataclass(frozen=True)
class _Name:
    schema: str
    name: str
    word: str


_NAMES = """
SELECT n.nspname AS schema, c.relname AS name,
       CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'i' THEN 'INDEX' WHEN 'I' THEN 'INDEX'
       ELSE 'TABLE' END AS word
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY(%(oids)s)
   OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = ANY(%(oids)s)) ORDER BY c.oid"""
_TAKEN = """
SELECT format('%%I.%%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s"""


def require_makeable(
    side: psycopg.Connection, live: psycopg.Connection, made: Sequence[Made], label: str
) -> None:
    """See that these relations, which are gone, can be made again.

    :param label: of the tables that are gone, for a message.
    :raises UsageError: what they need is gone too, or their names are taken; the hint says what to
        type.
    """
    oids = {"oids": [relation.oid for relation in made]}
    lacking = [one for one in rows(side, Something, _NEEDED, oids) if not is_there(live, one)]
    if lacking:
        tables = [one.identity for one in lacking if one.type == "table"]
        makes = [one.statement for one in lacking if one.statement]
        hints = [f"Name also: {','.join(tables)}."] if tables else []
        hints += [f"Make it first, then type the same: {' '.join(makes)}"] if makes else []
        raise UsageError(
            f"{label} is gone, and so is what its definition needs: "
            + ", ".join(f"{one.type} {one.identity}" for one in lacking),
            " ".join([*hints, "Or restore the whole database"]),
        )
    taken = []
    for wanted in rows(side, _Name, _NAMES, oids):
        for name in values(live, str, _TAKEN, (wanted.schema, wanted.name)):
            other = f"{wanted.name}_old".replace('"', '""')
            taken.append(f'ALTER {wanted.word} {name} RENAME TO "{other}";')
    if taken:
        raise UsageError(
            f"{label} is gone, and names that come back with it are taken by others now",
            f"Rename those, then type the same: {' '.join(taken)}",
        )
