"""What is asked of the live database beside a drill: how it sorts, and whether its indexes are what
they should be. A backup holds no indexes, only their definitions, so only the live ones can be
found bad, and a restored copy has new ones.

It is read, in transactions that are read only, and nothing is ever made in it: amcheck is used
where it is installed. Looking at an index takes the lock that any reader of its table takes, for a
minute at most, and waits for nobody.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable

import psycopg
from psycopg import sql

from ..errors import DatabaseError
from ..findings import Finding, finding
from ..job import Job
from ..postgresql.connection import connect, first_line, row, rows
from .levels import DrillFinding, judged, some, unknown

#: seconds that one index may take, and all of them together
ONE_INDEX, ALL_INDEXES = 60.0, 900.0
#: milliseconds that a lock is waited for
_LOCK_WAIT = 1000
#: SQLSTATEs that say that what was read is damaged: data_corrupted, index_corrupted
_DAMAGED = ("XX001", "XX002")


def look_at_live(job: Job) -> tuple[list[DrillFinding], list[str]]:
    """What the live database is like. What cannot be asked is a finding.

    :return: findings, and the names of the checks that were made: ``amcheck`` only where that
        extension is there.
    """
    asked: dict[str, Callable[[psycopg.Connection], list[Finding] | None]] = {
        "collations": lambda live: _collations(live, job.database),
        "indexes": lambda live: _invalid(live, job.database),
        "amcheck": lambda live: _damaged(job, live),
    }
    made: dict[str, list[Finding]] = {}
    try:
        with connect(job.settings, job.database) as live:
            live.execute("SET default_transaction_read_only TO on")
            for name, ask in asked.items():
                if (found := _asked(live, name, ask)) is not None:
                    made[name] = found
    except DatabaseError as error:
        left = [name for name in asked if name not in made]
        made |= {name: [unknown(name, error.message)] for name in left}
    return [judged(one, name) for name, found in made.items() for one in found], list(made)


def _asked(
    live: psycopg.Connection, name: str, ask: Callable[[psycopg.Connection], list[Finding] | None]
) -> list[Finding] | None:
    try:
        return ask(live)
    except psycopg.Error as error:
        if live.closed:
            raise
        return [unknown(name, first_line(error))]


@dataclasses.dataclass(frozen=True)
class _Collation:
    mend: str
    was: str
    now: str


# pg_database has versions since 15
_COLLATIONS = """
SELECT format('ALTER COLLATION %I.%I REFRESH VERSION;', n.nspname, c.collname) AS mend,
       c.collversion AS was, pg_collation_actual_version(c.oid) AS now
FROM pg_collation c JOIN pg_namespace n ON n.oid = c.collnamespace
WHERE c.collencoding IN (-1, (SELECT encoding FROM pg_database WHERE datname = current_database()))
  AND c.collversion <> pg_collation_actual_version(c.oid)
  AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid >= 16384 AND a.attcollation = c.oid)"""
_OF_DATABASE = """
SELECT format('ALTER DATABASE %I REFRESH COLLATION VERSION;', datname) AS mend,
       datcollversion AS was, pg_database_collation_actual_version(oid) AS now
FROM pg_database WHERE datname = current_database()
  AND datcollversion <> pg_database_collation_actual_version(oid)"""


def _collations(live: psycopg.Connection, database: str) -> list[Finding]:
    """How it sorts, by its catalogs alone."""
    there = rows(live, _Collation, _COLLATIONS)
    if live.info.server_version >= 150000:
        there += rows(live, _Collation, _OF_DATABASE)
    if not there:
        return []
    told = [f"{one.was} is noted, the server has {one.now} ({one.mend})" for one in there]
    return [finding("COLLATION_DIFFERS", f"{database}: {some(told)}")]


@dataclasses.dataclass(frozen=True)
class _Invalid:
    name: str
    table: str
    partitioned: bool
    leftover: bool


# one that is being built right now is not valid yet
_INVALID = """
SELECT format('%I.%I', n.nspname, c.relname) AS name, i.indrelid::regclass::text AS table,
       c.relkind = 'I' AS partitioned, c.relname ~ '_cc(new|old)\\d*$' AS leftover
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE NOT (i.indisvalid AND i.indisready AND i.indislive) AND c.relpersistence <> 't'
  AND i.indrelid >= 16384
  AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p
                  WHERE p.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
                    AND (p.index_relid = c.oid OR p.relid = i.indrelid))
ORDER BY 1"""


def _invalid(live: psycopg.Connection, database: str) -> list[Finding]:
    told = []
    for one in rows(live, _Invalid, _INVALID):
        if one.leftover:
            mend = f"DROP INDEX CONCURRENTLY {one.name};"
        elif one.partitioned:
            mend = f"make it on each partition, then ALTER INDEX {one.name} ATTACH PARTITION ...;"
        else:
            mend = f"REINDEX INDEX CONCURRENTLY {one.name};"
        told.append(f"{one.name} of {one.table} ({mend})")
    if not told:
        return []
    why = f"{database}: no query uses them, and one that is unique holds nothing apart"
    return [finding("INDEX_INVALID", f"{why}: {some(told)}")]


@dataclasses.dataclass(frozen=True)
class _Amcheck:
    schema: str
    allowed: bool


@dataclasses.dataclass(frozen=True)
class _Index:
    number: int
    name: str


# the extension's own function, whatever else bears that name
_AMCHECK = """
SELECT n.nspname::text AS schema, has_function_privilege(p.oid, 'EXECUTE')
       AND has_schema_privilege(n.oid, 'USAGE') AS allowed
FROM pg_extension e
JOIN pg_depend d ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
                AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e'
JOIN pg_proc p ON p.oid = d.objid AND p.proname = 'bt_index_check' AND p.pronargs = 1
JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE e.extname = 'amcheck'"""
# the application's first, and of them the small ones: as many as can be in the time
_BTREES = """
SELECT c.oid::bigint AS number, format('%I.%I', n.nspname, c.relname) AS name
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i'
JOIN pg_am a ON a.oid = c.relam AND a.amname = 'btree'
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.indisvalid AND i.indisready AND i.indislive AND c.relpersistence <> 't'
ORDER BY i.indrelid < 16384, c.relpages, 2"""


def _damaged(job: Job, live: psycopg.Connection) -> list[Finding] | None:
    """What amcheck says of every index; None where it is not there."""
    amcheck = row(live, _Amcheck, _AMCHECK)
    if amcheck is None:
        return None
    function = sql.Identifier(amcheck.schema, "bt_index_check")
    if not amcheck.allowed:
        user = job.settings.db_user
        grant = sql.SQL("GRANT EXECUTE ON FUNCTION {}(regclass) TO {};").format(
            function, sql.Identifier(user)
        )
        return [unknown("indexes", f"{user} may not call amcheck ({grant.as_string(live)})")]
    check = sql.SQL("SELECT {}(%s::oid::regclass)").format(function)
    live.execute(f"SET lock_timeout TO {_LOCK_WAIT}")
    bad, unseen, until = [], [], time.monotonic() + ALL_INDEXES
    job.progress.phase(f"looking at the indexes of {job.database}")
    for index in rows(live, _Index, _BTREES):
        left = min(ONE_INDEX, until - time.monotonic())
        if left <= 0:
            unseen.append(f"{index.name}: no time was left")
            continue
        live.execute(f"SET statement_timeout TO {max(1, int(left * 1000))}")
        try:
            live.execute(check, (index.number,))
        except psycopg.Error as error:
            if live.closed:
                raise
            if error.sqlstate in _DAMAGED:
                bad.append(f"{first_line(error)} (REINDEX INDEX CONCURRENTLY {index.name};)")
            elif error.sqlstate != psycopg.errors.UndefinedTable.sqlstate:  # dropped meanwhile
                unseen.append(f"{index.name}: {first_line(error)}")
    found = [finding("INDEX_CORRUPT", f"{job.database}: {some(bad)}")] if bad else []
    return found + ([unknown("indexes", some(unseen))] if unseen else [])
