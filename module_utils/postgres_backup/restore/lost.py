"""What went away with a table that was dropped, belongs to something that nobody named, and so does
not come back with it: told, with what to type.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import sql

from ..findings import Finding, finding
from ..postgresql.connection import rows, values
from .foreign_keys import ForeignKey, keys_of
from .needs import Something, is_there
from .table import Table
from .table_definitions import Made

#: how many large objects a message names
_NAMED = 10


def lost_keys(
    side: psycopg.Connection, live: psycopg.Connection, tables: Sequence[Table]
) -> tuple[list[Finding], list[ForeignKey]]:
    """Foreign keys that pointed at a table which is gone, or at a partition of it: those that do
    not come back, told; and those of other chosen tables, whose rows become the backup's too, so
    that the keys can be made again. Those of tables that are gone come with these.
    """
    tree = "SELECT %(oid)s::oid UNION SELECT relid::oid FROM pg_partition_tree(%(oid)s)"
    gone = {
        oid: table
        for table in tables
        if table.live_oid is None
        for oid in values(side, int, tree, {"oid": table.side_oid})
    }
    chosen = {table.side_oid for table in tables}
    findings, again = [], []
    for key in keys_of(side, list(gone)):
        if key.parent not in gone or key.child in gone:
            continue
        if values(live, int, _KEY_THERE, (key.name, key.child_name)):
            continue
        if key.child in chosen and values(live, int, _OURS, (key.child_name,)):
            again.append(key)
            continue
        name = sql.Identifier(key.name).as_string(live)
        findings.append(
            finding(
                "FOREIGN_KEY_MISSING",
                f"{gone[key.parent].label} was gone and its foreign key with it: "
                f"ALTER TABLE {key.child_name} ADD CONSTRAINT {name} {key.definition};",
            )
        )
    return findings, again


_KEY_THERE = "SELECT 1 FROM pg_constraint WHERE conname = %s AND conrelid = to_regclass(%s)"
_OURS = "SELECT 1 FROM pg_class WHERE oid = to_regclass(%s) AND pg_has_role(relowner, 'USAGE')"
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
      || coalesce(format(' COMMENT ON %%sVIEW %%s IS ',
             CASE c.relkind WHEN 'm' THEN 'MATERIALIZED ' ELSE '' END, i.identity)
         || quote_literal(obj_description(c.oid, 'pg_class')) || ';', '')
    WHEN gone.classid = 'pg_rewrite'::regclass THEN pg_get_ruledef(gone.objid)
    WHEN gone.classid = 'pg_trigger'::regclass THEN pg_get_triggerdef(gone.objid) || ';'
    WHEN p.prokind IN ('f', 'p') THEN pg_get_functiondef(gone.objid) || ';'
    WHEN y.oid IS NOT NULL THEN format('CREATE POLICY %%I ON %%s AS %%s FOR %%s TO %%s%%s%%s;',
        y.polname, y.polrelid::regclass,
        CASE WHEN y.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
        CASE y.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
            WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
        (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC' ELSE role::regrole::text END, ', ')
         FROM unnest(y.polroles) role),
        ' USING (' || pg_get_expr(y.polqual, y.polrelid) || ')',
        ' WITH CHECK (' || pg_get_expr(y.polwithcheck, y.polrelid) || ')')
    WHEN f.oid IS NOT NULL THEN format('ALTER TABLE %%s ALTER COLUMN %%I SET DEFAULT %%s;',
        f.adrelid::regclass,
        (SELECT attname FROM pg_attribute WHERE attrelid = f.adrelid AND attnum = f.adnum),
        pg_get_expr(f.adbin, f.adrelid))
    WHEN b.oid IS NOT NULL THEN format('ALTER PUBLICATION %%I ADD TABLE %%s%%s%%s;',
        (SELECT pubname FROM pg_publication WHERE oid = b.prpubid), b.prrelid::regclass,
        (SELECT ' (' || string_agg(quote_ident(attname), ', ' ORDER BY attnum) || ')'
         FROM pg_attribute
         WHERE attrelid = b.prrelid AND to_jsonb(b) -> 'prattrs' @> to_jsonb(attnum)),
        (SELECT format(' WHERE (%%s)', to_jsonb(v) ->> 'rowfilter') FROM pg_publication_tables v
         WHERE to_jsonb(v) ->> 'rowfilter' IS NOT NULL
           AND (v.pubname, v.schemaname, v.tablename) = (
             SELECT pubname, nspname, relname FROM pg_publication q, pg_class t
             JOIN pg_namespace n ON n.oid = t.relnamespace
             WHERE q.oid = b.prpubid AND t.oid = b.prrelid)))
    WHEN s.oid IS NOT NULL THEN pg_get_statisticsobjdef(s.oid) || ';'
      || format(' ALTER STATISTICS %%s OWNER TO %%I;', i.identity, pg_get_userbyid(s.stxowner))
      || coalesce(format(' ALTER STATISTICS %%s SET STATISTICS ', i.identity)
         || nullif(s.stxstattarget, -1) || ';', '')
      || coalesce(format(' COMMENT ON STATISTICS %%s IS ', i.identity)
         || quote_literal(obj_description(s.oid, 'pg_statistic_ext')) || ';', '')
    END, '') AS statement
FROM gone CROSS JOIN pg_identify_object(gone.classid, gone.objid, 0) i
CROSS JOIN pg_identify_object_as_address(gone.classid, gone.objid, 0) a
LEFT JOIN pg_class c ON gone.classid = 'pg_class'::regclass AND c.oid = gone.objid
LEFT JOIN pg_rewrite r ON gone.classid = 'pg_rewrite'::regclass AND r.oid = gone.objid
LEFT JOIN pg_trigger t ON gone.classid = 'pg_trigger'::regclass AND t.oid = gone.objid
LEFT JOIN pg_proc p ON gone.classid = 'pg_proc'::regclass AND p.oid = gone.objid
LEFT JOIN pg_policy y ON gone.classid = 'pg_policy'::regclass AND y.oid = gone.objid
LEFT JOIN pg_attrdef f ON gone.classid = 'pg_attrdef'::regclass AND f.oid = gone.objid
LEFT JOIN pg_publication_rel b
    ON gone.classid = 'pg_publication_rel'::regclass AND b.oid = gone.objid
LEFT JOIN pg_statistic_ext s ON gone.classid = 'pg_statistic_ext'::regclass AND s.oid = gone.objid
WHERE (gone.classid IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_proc'::regclass,
        'pg_policy'::regclass, 'pg_attrdef'::regclass, 'pg_publication_rel'::regclass,
        'pg_statistic_ext'::regclass)
      AND coalesce(r.rulename, '') <> '_RETURN' AND NOT coalesce(t.tgisinternal, false)
    OR c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S'))
  -- what is of these tables themselves comes with them
  AND coalesce(r.ev_class, t.tgrelid, y.polrelid, f.adrelid, c.oid, 0) <> ALL(%(oids)s::oid[])
ORDER BY gone.objid"""


def lost_dependents(
    side: psycopg.Connection, live: psycopg.Connection, made: Sequence[Made]
) -> list[Finding]:
    """Views, policies, rules, functions and whatever else was dropped with these tables, which are
    not made again yet.
    """
    found = rows(side, Something, _DEPENDENTS, {"oids": [relation.oid for relation in made]})
    return [
        finding(
            "DEPENDENT_MISSING",
            f"the {dependent.type} {dependent.identity} went with a table and does not come back "
            f"with it: {_what_to_type(dependent)}",
        )
        for dependent in found
        if not is_there(live, dependent)
    ]


def _what_to_type(lost: Something) -> str:
    if lost.type == "table":
        return f"name it too (tables=...,{lost.identity})"
    return _on_one_line(lost.statement) or "make it again"


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
