"""What a dump of this database will not make where its ``search_path`` is empty, as pg_dump leaves
it: known while the database is there, not at the restore.

Definitions alone do not show it: over empty tables all of them are made without an error. So what
calls functions of the database is tried over a few live rows, within the dump's snapshot. That is
remembered, and asked again only when one of these definitions or functions is another.

Functions are their owners' business: what is tried runs with the rights of the owner of the table,
as PostgreSQL itself runs it when it makes an index, and cannot leave them (a function with SECURITY
DEFINER forbids SET ROLE). Whoever is no superuser tries only what is his own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Iterator
from typing import TypedDict

import psycopg
from psycopg import sql

from ..catalog.manifest import PathNeed
from ..errors import DatabaseError, UsageError
from ..findings import Finding, finding
from ..job import Job
from ..machine import state
from ..postgresql.connection import Query, connect, first_line, rows, value
from ..postgresql.load_errors import UNKNOWN
from ..postgresql.otherwise import OWN_PATH

#: milliseconds that one object may take, and that it waits for a lock (somebody may wait for ours)
_LONGEST, _LOCK = 5000, 1000
#: seconds that all of them may take
_ALL = 60.0
#: so many are told of in the manifest; letters of a name, of the server's words, of statements
_MOST, _NAME, _SAID, _MEND = 1000, 2000, 1000, 20_000
#: every object that a restore evaluates and that calls functions of the database which are not in
#: C and have no path of their own, with a query that evaluates it over some rows
_OBJECTS = """
WITH RECURSIVE nameless (proc) AS (
    SELECT p.oid FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
    WHERE p.oid >= 16384 AND l.lanname NOT IN ('internal', 'c')
      AND NOT EXISTS (SELECT FROM unnest(p.proconfig) s WHERE s LIKE 'search\\_path=%')
), call (classid, objid, proc) AS MATERIALIZED (
    SELECT d.classid, d.objid, n.proc FROM nameless n
    JOIN pg_depend d ON d.refclassid = 'pg_proc'::regclass AND d.refobjid = n.proc
    UNION
    SELECT d.classid, d.objid, n.proc FROM nameless n JOIN pg_operator o ON o.oprcode = n.proc
    JOIN pg_depend d ON d.refclassid = 'pg_operator'::regclass AND d.refobjid = o.oid
), read (matview, view) AS (
    SELECT oid, oid FROM pg_class WHERE relkind = 'm' AND relispopulated
    UNION
    SELECT read.matview, v.oid
    FROM read JOIN pg_rewrite r ON r.ev_class = read.view
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
      AND d.refclassid = 'pg_class'::regclass
    JOIN pg_class v ON v.oid = d.refobjid AND v.relkind = 'v'
), live AS NOT MATERIALIZED (
    SELECT c.oid, c.relname, c.relowner, c.oid::regclass::text AS name,
           format('(SELECT * FROM ONLY %s LIMIT 100) AS %I', c.oid::regclass, c.relname) AS rows
    FROM pg_class c WHERE c.relkind IN ('r', 'm') AND c.relpersistence <> 't'
), made (kind, name, owner, holder, proc, query) AS (
    SELECT 'index', i.indexrelid::regclass::text, t.relowner, t.oid, call.proc,
        format('SELECT count(ROW(%s)) FROM %s WHERE %s',
            coalesce(pg_get_expr(i.indexprs, i.indrelid), '1'), t.rows,
            coalesce(pg_get_expr(i.indpred, i.indrelid), 'true'))
    FROM call JOIN pg_index i ON i.indexrelid = call.objid
    JOIN live t ON t.oid = i.indrelid
    WHERE call.classid = 'pg_class'::regclass
      AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL)
    UNION ALL
    SELECT 'column', format('%s.%I', t.name, a.attname), t.relowner, t.oid, call.proc,
        format('SELECT count(ROW(%s)) FROM %s', pg_get_expr(e.adbin, e.adrelid), t.rows)
    FROM call JOIN pg_attrdef e ON e.oid = call.objid
    JOIN pg_attribute a ON a.attrelid = e.adrelid AND a.attnum = e.adnum
    JOIN live t ON t.oid = a.attrelid
    WHERE call.classid = 'pg_attrdef'::regclass AND a.attgenerated = 's'
    UNION ALL
    SELECT 'CHECK', format('%I on %s', c.conname, t.name), t.relowner, t.oid, call.proc,
        format('SELECT count(ROW(%s)) FROM %s', pg_get_expr(c.conbin, c.conrelid), t.rows)
    FROM call JOIN pg_constraint c ON c.oid = call.objid
    JOIN live t ON t.oid = c.conrelid
    WHERE call.classid = 'pg_constraint'::regclass AND c.contype = 'c' AND c.convalidated
    UNION ALL
    SELECT 'domain', c.contypid::regtype::text, t.relowner, y.oid, call.proc,
        format('SELECT count(CAST(CAST(%I AS %s) AS %s)) FROM %s', a.attname,
            format_type(y.typbasetype, y.typtypmod), c.contypid::regtype, t.rows)
    FROM call JOIN pg_constraint c ON c.oid = call.objid
    JOIN pg_type y ON y.oid = c.contypid
    JOIN LATERAL (SELECT attrelid, attname FROM pg_attribute JOIN live ON live.oid = attrelid
        WHERE atttypid = y.oid AND attnum > 0 ORDER BY attrelid, attnum LIMIT 1) a ON true
    JOIN live t ON t.oid = a.attrelid
    WHERE call.classid = 'pg_constraint'::regclass AND c.contype = 'c' AND c.convalidated
    UNION ALL
    SELECT DISTINCT 'materialized view', t.name, t.relowner, t.oid, call.proc,
        format('SELECT count(made) FROM (SELECT * FROM (%s) AS made LIMIT 100) AS made',
            rtrim(pg_get_viewdef(t.oid), ';'))
    FROM read JOIN pg_rewrite r ON r.ev_class = read.view
    JOIN call ON call.classid = 'pg_rewrite'::regclass AND call.objid = r.oid
    JOIN live t ON t.oid = read.matview
)
SELECT made.kind || ' ' || made.name AS object, o.rolname AS owner, made.query,
       o.rolname = current_user AS own,
       string_agg(DISTINCT
           format('ALTER FUNCTION %s SET search_path TO {};', made.proc::regprocedure), ' ') AS mend
FROM made JOIN pg_roles o ON o.oid = made.owner
WHERE NOT EXISTS (SELECT FROM pg_depend e WHERE e.deptype = 'e' AND e.objid = made.holder
    AND e.classid IN ('pg_class'::regclass, 'pg_type'::regclass))
GROUP BY 1, 2, 3, 4 ORDER BY 1, 3"""
_FUNCTIONS = """
SELECT coalesce(md5(string_agg(concat_ws(',', p.oid::regprocedure, p.prosrc, p.proconfig::text),
    ';' ORDER BY p.oid::regprocedure::text)), '')
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.oid >= 16384 AND l.lanname NOT IN ('internal', 'c')"""


class _Found(TypedDict):
    """What was found last of a database, and the hash of the definitions that it was found of."""

    hash: str
    needs: list[PathNeed]
    unasked: list[str]


_REMEMBERED = state.Kept("search-path.json", dict[str, _Found])


@dataclasses.dataclass(frozen=True)
class _Object:
    object: str
    owner: str
    query: str
    own: bool
    mend: str


@dataclasses.dataclass(frozen=True)
class PathNeeds:
    """What was found.

    :param needs: what a load with an empty path cannot make.
    :param unasked: what could not be tried, and why.
    """

    needs: tuple[PathNeed, ...] = ()
    unasked: tuple[str, ...] = ()

    def findings(self) -> list[Finding]:
        """What could not be tried; what is needed stands in the manifest."""
        if not self.unasked:
            return []
        more = f" and {len(self.unasked) - 3} more" if len(self.unasked) > 3 else ""
        told = "; ".join(self.unasked[:3])
        return [
            finding(
                "SEARCH_PATH_NOT_ASKED",
                "whether a restore finds all names by an empty search_path was not tried for "
                f"everything: {told}{more}",
            )
        ]


def look(job: Job, snapshot: str) -> PathNeeds:
    """Ask, where the definitions are others than the last time. A backup does not fail of it.

    :param snapshot: the exported one of the dump.
    """
    try:
        with connect(job.settings, job.database, "REPEATABLE_READ") as connection:
            connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
            connection.execute("SET LOCAL search_path TO ''; SET LOCAL statement_timeout TO '20s'")
            return _remembered(job, connection)
    except (DatabaseError, UsageError) as error:
        return PathNeeds(unasked=(error.message[:_SAID],))


def _remembered(job: Job, connection: psycopg.Connection) -> PathNeeds:
    objects = rows(connection, _Object, _OBJECTS)
    if not objects:
        return PathNeeds()
    path = value(connection, str, OWN_PATH.decode())
    objects = [dataclasses.replace(o, mend=o.mend.replace("{}", path)) for o in objects]
    known = [dataclasses.astuple(o) for o in objects]
    text = json.dumps([known, value(connection, str, _FUNCTIONS), job.settings.db_user])
    digest = hashlib.sha256(text.encode()).hexdigest()
    there = state.read(job.settings, _REMEMBERED).get(job.database)
    if there and there["hash"] == digest:
        return PathNeeds(tuple(there["needs"]), tuple(there["unasked"]))
    found = _ask(connection, objects, path)
    with state.changing(job.settings, _REMEMBERED) as remembered:
        remembered[job.database] = {
            "hash": digest,
            "needs": list(found.needs),
            "unasked": list(found.unasked),
        }
    return found


def _ask(connection: psycopg.Connection, objects: list[_Object], path: str) -> PathNeeds:
    superuser = connection.info.parameter_status("is_superuser") == "on"
    ends = time.monotonic() + _ALL
    needs: list[PathNeed] = []
    unasked: list[str] = []
    for at in objects:
        if not (superuser or at.own):
            unasked.append(_plain(f"{at.object} runs with the rights of {at.owner}")[:_SAID])
            continue
        if time.monotonic() > ends:
            unasked.append(_plain(f"{at.object}: no time was left")[:_SAID])
            continue
        refused = _try(connection, at, "", superuser)
        if refused is None:
            continue
        without = refused.sqlstate in UNKNOWN
        if without or (_may_help(refused) and _try(connection, at, path, superuser) is None):
            needs.append(_need(at, refused))
        else:
            unasked.append(_plain(f"{at.object}: {first_line(refused)}")[:_SAID])
    return PathNeeds(tuple(needs[:_MOST]), tuple(unasked[:_MOST]))


def _may_help(refused: psycopg.Error) -> bool:
    """Not where it was the time that was lacking, or where nothing may be made."""
    return (refused.sqlstate or "")[:2] not in ("57", "55", "25", "42")


def _need(at: _Object, refused: psycopg.Error) -> PathNeed:
    return {
        "object": _plain(at.object)[:_NAME],
        "said": _plain(first_line(refused))[:_SAID],
        "mend": _plain(at.mend) if len(at.mend) <= _MEND else "",
    }


def _plain(text: str) -> str:
    """For JSON: bytes that are no letters as they are told elsewhere."""
    return text.encode(errors="backslashreplace").decode()


def _try(
    connection: psycopg.Connection, at: _Object, path: str, superuser: bool
) -> psycopg.Error | None:
    """How the server refuses it; all that it did is undone."""
    try:
        with connection.transaction(force_rollback=True):
            for statement in _statements(at, path, superuser):
                connection.execute(statement)
    except psycopg.Error as refused:
        if connection.closed:
            raise
        return refused
    return None


def _statements(at: _Object, path: str, superuser: bool) -> Iterator[Query]:
    """A superuser's session makes a function of the owner's for each, that is gone before the next:
    he might change it meanwhile.
    """
    yield sql.SQL("SET LOCAL statement_timeout = {}").format(sql.Literal(_LONGEST))
    yield sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_LOCK))
    setting = sql.SQL("SELECT pg_catalog.set_config('search_path', {}, true)")
    if not superuser:
        yield setting.format(sql.Literal(path))
        yield at.query.encode(errors="surrogateescape")  # the server's own text
        return
    name = sql.SQL("pg_temp.postgres_backup_ask")
    yield sql.SQL(
        "CREATE FUNCTION {}(query text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER"
        " AS 'BEGIN EXECUTE query; END'"
    ).format(name)
    yield sql.SQL("ALTER FUNCTION {} OWNER TO {}").format(name, sql.Identifier(at.owner))
    yield setting.format(sql.Literal(path))
    yield sql.SQL("SELECT {}({})").format(name, sql.Literal(at.query))
