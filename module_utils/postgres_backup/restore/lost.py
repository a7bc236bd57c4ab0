"""What went away with a table that was dropped, belongs to something that nobody named, and so does
not come back with it: told, with what to type.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import psycopg
from psycopg import sql

from ..findings import Finding, finding
from ..postgresql.connection import rows, values
from .foreign_keys import keys_of
from .table import Table
from .table_definitions import Made

#: how many large objects a message names
_NAMED = 10


def lost_keys(
    side: psycopg.Connection, live: psycopg.Connection, tables: Sequence[Table]
) -> list[Finding]:
    """Foreign keys that pointed at a table which was gone."""
    gone = {table.side_oid: table for table in tables if table.live_oid is None}
    findings = []
    for key in keys_of(side, list(gone)):
        if key.parent not in gone:
            continue
        there = values(
            live,
            int,
            "SELECT 1 FROM pg_constraint WHERE conname = %s AND conrelid = to_regclass(%s)",
            (key.name, key.child_name),
        )
        if not there:
            name = sql.Identifier(key.name).as_string(live)
            findings.append(
                finding(
                    "FOREIGN_KEY_MISSING",
                    f"{gone[key.parent].label} was gone and its foreign key with it: "
                    f"ALTER TABLE {key.child_name} ADD CONSTRAINT {name} {key.definition};",
                )
            )
    return findings


@dataclasses.dataclass(frozen=True)
class _Dependent:
    """Something whose definition names a table; ``statement`` makes it again, where one does."""

    type: str
    identity: str
    object_names: list[str]
    object_args: list[str]
    statement: str


_DEPENDENTS = """
WITH RECURSIVE gone (classid, objid) AS (
    SELECT 'pg_class'::regclass::oid, unnest(%(oids)s::oid[])
    UNION
    SELECT found.classid, found.objid
    FROM gone JOIN pg_depend d ON d.refclassid = gone.classid AND d.refobjid = gone.objid
    LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    CROSS JOIN LATERAL (
        SELECT d.classid, d.objid
        UNION ALL SELECT 'pg_class'::regclass::oid, r.ev_class WHERE r.rulename = '_RETURN'
    ) found WHERE d.deptype IN ('n', 'a', 'i'))
SELECT i.type, i.identity, a.object_names, a.object_args, coalesce(
    CASE
    WHEN c.relkind IN ('v', 'm') THEN format(
        'CREATE %%sVIEW %%s%%s AS %%s ALTER TABLE %%s OWNER TO %%I;',
        CASE c.relkind WHEN 'm' THEN 'MATERIALIZED ' ELSE '' END, i.identity,
        ' WITH (' || array_to_string(c.reloptions, ', ') || ')', pg_get_viewdef(c.oid), i.identity,
        pg_get_userbyid(c.relowner))
      || coalesce((SELECT string_agg(format(' GRANT %%s ON %%s TO %%s;', privilege_type, i.identity,
             CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END), '')
         FROM aclexplode(c.relacl) WHERE grantee <> c.relowner), '')
      || coalesce((SELECT string_agg(' ' || pg_get_indexdef(indexrelid) || ';', '')
         FROM pg_index WHERE indrelid = c.oid), '')
    WHEN gone.classid = 'pg_rewrite'::regclass THEN pg_get_ruledef(gone.objid)
    WHEN gone.classid = 'pg_trigger'::regclass THEN pg_get_triggerdef(gone.objid) || ';'
    WHEN p.prokind IN ('f', 'p') THEN pg_get_functiondef(gone.objid)
    END, '') AS statement
FROM gone CROSS JOIN pg_identify_object(gone.classid, gone.objid, 0) i
CROSS JOIN pg_identify_object_as_address(gone.classid, gone.objid, 0) a
LEFT JOIN pg_class c ON gone.classid = 'pg_class'::regclass AND c.oid = gone.objid
LEFT JOIN pg_rewrite r ON gone.classid = 'pg_rewrite'::regclass AND r.oid = gone.objid
LEFT JOIN pg_trigger t ON gone.classid = 'pg_trigger'::regclass AND t.oid = gone.objid
LEFT JOIN pg_proc p ON gone.classid = 'pg_proc'::regclass AND p.oid = gone.objid
WHERE gone.classid IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_proc'::regclass,
    'pg_policy'::regclass, 'pg_attrdef'::regclass, 'pg_publication_rel'::regclass)
      AND coalesce(r.rulename, '') <> '_RETURN' AND NOT coalesce(t.tgisinternal, false)
   OR c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
ORDER BY gone.objid"""


def lost_dependents(
    side: psycopg.Connection, live: psycopg.Connection, made: Sequence[Made]
) -> list[Finding]:
    """Views, policies, rules, functions and whatever else was dropped with these tables."""
    found = rows(side, _Dependent, _DEPENDENTS, {"oids": [relation.oid for relation in made]})
    return [
        finding(
            "DEPENDENT_MISSING",
            f"the {dependent.type} {dependent.identity} went with a table and does not come back "
            "with it: " + (_on_one_line(dependent.statement) or "make it again"),
        )
        for dependent in found
        if not _is_there(live, dependent)
    ]


def _is_there(live: psycopg.Connection, dependent: _Dependent) -> bool:
    try:
        with live.transaction():
            live.execute(
                "SELECT pg_get_object_address(%s, %s, %s)",
                (dependent.type, dependent.object_names, dependent.object_args),
            )
    except psycopg.ProgrammingError:  # each kind has its own error for what is not there
        return False
    return True


def _on_one_line(statement: str) -> str:
    """For a log; left as it is where a line might break within quotes."""
    lines = statement.splitlines()
    whole = all(line.count("'") % 2 == 0 and line.count('"') % 2 == 0 for line in lines)
    return " ".join(line.strip() for line in lines) if whole and "$" not in statement else statement


def lost_objects(side: psycopg.Connection, live: psycopg.Connection, table: Table) -> list[Finding]:
    """Large objects that a table's rows name, and that are gone."""
    findings = []
    for column in table.columns:
        if column.type.rpartition(".")[2] not in ("oid", "lo"):
            continue
        named = values(
            side,
            int,
            sql.SQL(
                "SELECT DISTINCT m.oid::bigint FROM {} t JOIN pg_largeobject_metadata m "
                "ON m.oid = t.{}::oid ORDER BY 1"
            ).format(table.side, sql.Identifier(column.name)),
        )
        there = "SELECT oid::bigint FROM pg_largeobject_metadata WHERE oid = ANY(%s::oid[])"
        gone = sorted(set(named) - set(values(live, int, there, (named,)))) if named else []
        if gone:
            first = ", ".join(map(str, gone[:_NAMED])) + (", ..." if gone[_NAMED:] else "")
            findings.append(
                finding(
                    "LARGE_OBJECTS_MISSING",
                    f"{len(gone)} large objects that {table.label}.{column.name} names are gone, "
                    f"and do not come back with it: {first}",
                )
            )
    return findings
