"""What is asked of a restored copy beside its rows: settings, extensions, owners, rights,
sequences, constraints.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import psycopg
from psycopg import sql

from ..catalog.manifest import Manifest, ShareRecord, major_of
from ..findings import Finding, finding
from ..job import Job
from ..postgresql.belongings import Share, shares
from ..postgresql.connection import connect, first_line, rows
from ..postgresql.databases import ONE_PROCESS
from ..postgresql.facts import DatabaseFacts, database_facts, extensions
from ..restore.plan import Plan
from .levels import DrillFinding, judged, some, unknown


def look_inside(job: Job, plan: Plan, side: str) -> tuple[list[DrillFinding], list[str]]:
    """What a copy is like.

    :return: findings, and the names of the checks that were made.
    """
    known = plan.backup.manifest
    with connect(job.settings, side) as connection:
        asked: dict[str, Callable[[], list[Finding]]] = {
            "settings": lambda: _settings(connection, plan.wanted, side),
            "extensions": lambda: _extensions(connection, known),
            "owners": lambda: _shares(connection, known, plan.server.major)[0],
            "privileges": lambda: _shares(connection, known, plan.server.major)[1],
            "sequences": lambda: _sequences(connection),
            "constraints": lambda: _constraints(connection),
        }
        findings = [one for name, ask in asked.items() for one in _asked(connection, name, ask)]
    return findings, list(asked)


def _asked(
    connection: psycopg.Connection, name: str, ask: Callable[[], list[Finding]]
) -> list[DrillFinding]:
    """What one of them finds; where the server refuses to say, that is what was found."""
    try:
        return [judged(found, name) for found in ask()]
    except psycopg.Error as error:
        if connection.closed:
            raise
        return [judged(unknown(name, first_line(error)), name)]


def _settings(connection: psycopg.Connection, wanted: DatabaseFacts, side: str) -> list[Finding]:
    made = database_facts(connection, side)
    if made is None:
        return [unknown("settings", f"{side} is gone")]
    ours = {f"{name}=0" for name in ONE_PROCESS}
    there = {(one.role, one.setting) for one in made.settings if one.setting not in ours}
    asked = {(one.role, one.setting) for one in wanted.settings if one.setting not in ours}
    differing = [
        setting if not role else f"{setting} (of {role})" for role, setting in sorted(asked - there)
    ]
    if made.owner != wanted.owner:
        differing.insert(0, f"owner {made.owner}, the backup says {wanted.owner}")
    if made.encoding != (wanted.encoding or made.encoding):
        differing.insert(0, f"encoding {made.encoding}, the backup says {wanted.encoding}")
    if not differing:
        return []
    return [finding("SETTING_DIFFERS", f"not as in the backup: {some(differing)}")]


def _extensions(connection: psycopg.Connection, known: Manifest | None) -> list[Finding]:
    if known is None or "extensions" not in known:
        return [unknown("extensions", "the backup does not say which there were")]
    there = {one.name: one for one in extensions(connection)}
    found = []
    for was in known["extensions"]:
        now = there.get(was["name"])
        if now is None:
            found.append(finding("EXTENSION_ABSENT", f"the copy has no extension {was['name']}"))
        elif (now.version, now.schema) != (was["version"], was["schema"]):
            found.append(
                finding(
                    "EXTENSION_DIFFERS",
                    f"the extension {was['name']} was {was['version']} in {was['schema']}, "
                    f"and is {now.version} in {now.schema}",
                )
            )
    return found


def _shares(
    connection: psycopg.Connection, known: Manifest | None, major: int
) -> tuple[list[Finding], list[Finding]]:
    """What differs of owners, and of rights."""
    if known is None or "shares" not in known:
        none_known = [unknown("owners and rights", "the backup is older than that it notes them")]
        return none_known, none_known
    if major_of(known.get("postgresql_version", "")) != major:
        none_known = [unknown("owners and rights", "another major of PostgreSQL wrote them")]
        return none_known, none_known
    was = {one["role"]: _share(one) for one in known["shares"]}
    now, none = shares(connection), Share(0, "", 0, "")
    owners, rights = [], []
    for role in sorted(was.keys() | now.keys()):
        before, after = was.get(role, none), now.get(role, none)
        name = role or "everybody"
        if (before.objects, before.objects_sha256) != (after.objects, after.objects_sha256):
            owners.append(f"{name} owns {_other(before.objects, after.objects, 'objects')}")
        if (before.rights, before.rights_sha256) != (after.rights, after.rights_sha256):
            rights.append(f"{name} has {_other(before.rights, after.rights, 'rights')}")
    return (
        [finding("OWNERS_DIFFER", some(owners))] if owners else [],
        [finding("PRIVILEGES_DIFFER", some(rights))] if rights else [],
    )


def _share(record: ShareRecord) -> Share:
    return Share(
        record["objects"], record["objects_sha256"], record["rights"], record["rights_sha256"]
    )


def _other(before: int, after: int, what: str) -> str:
    return f"{after} {what}, it were {before}" if before != after else f"other {what} ({after})"


@dataclasses.dataclass(frozen=True)
class _Sequence:
    schema: str
    name: str
    table_schema: str
    table: str
    column: str
    descends: bool


_SEQUENCES = """
SELECT sn.nspname::text AS schema, s.relname::text AS name, tn.nspname::text AS table_schema,
       t.relname::text AS table, a.attname::text AS column, q.seqincrement < 0 AS descends
FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
JOIN pg_sequence q ON q.seqrelid = s.oid JOIN pg_namespace sn ON sn.oid = s.relnamespace
JOIN pg_class t ON t.oid = d.refobjid AND t.relkind IN ('r', 'p')
JOIN pg_namespace tn ON tn.oid = t.relnamespace
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
  AND d.deptype IN ('a', 'i') AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
  AND sn.nspname !~ '^pg_' ORDER BY 1, 2"""


@dataclasses.dataclass(frozen=True)
class _Stand:
    behind: bool
    next: int | None
    largest: int | None


def _sequences(connection: psycopg.Connection) -> list[Finding]:
    """Each that fills a column, held against the largest value there (of an index, or of all
    rows).
    """
    behind, hidden = [], []
    for one in rows(connection, _Sequence, _SEQUENCES):
        table, column = sql.Identifier(one.table_schema, one.table), sql.Identifier(one.column)
        sequence = sql.Identifier(one.schema, one.name)
        best, before = ("min", ">=") if one.descends else ("max", "<=")
        asked = sql.SQL(
            "SELECT coalesce(next {before} largest, false) AS behind, next, largest FROM ("
            " SELECT (SELECT CASE WHEN is_called THEN last_value + seqincrement ELSE last_value END"
            "         FROM {sequence}, pg_sequence WHERE seqrelid = {regclass}::regclass)::bigint"
            "            AS next,"
            "        (SELECT {best}({column}) FROM {table})::bigint AS largest) AS x"
        ).format(
            before=sql.SQL(before),
            best=sql.SQL(best),
            sequence=sequence,
            regclass=sql.Literal(sequence.as_string(connection)),
            column=column,
            table=table,
        )
        try:
            [stand] = rows(connection, _Stand, asked)
        except psycopg.errors.InsufficientPrivilege:
            hidden.append(f"{one.schema}.{one.name}")
            continue
        if stand.behind:
            mend = sql.SQL("SELECT setval({}, {})").format(
                sql.Literal(sequence.as_string(connection)), sql.Literal(stand.largest)
            )
            behind.append(
                f"{one.schema}.{one.name} goes on with {stand.next}, and "
                f"{one.table_schema}.{one.table}.{one.column} has {stand.largest} already "
                f"({mend.as_string(connection)})"
            )
    found = [finding("SEQUENCE_BEHIND", some(behind))] if behind else []
    return found + ([unknown("sequences", f"no right to {some(hidden)}")] if hidden else [])


@dataclasses.dataclass(frozen=True)
class _Constraint:
    table: str
    name: str


def _constraints(connection: psycopg.Connection) -> list[Finding]:
    there = rows(
        connection,
        _Constraint,
        """
        SELECT format('%I.%I', n.nspname, c.relname) AS table, quote_ident(o.conname) AS name
        FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE NOT o.convalidated AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
        ORDER BY 1, 2""",
    )
    told = [f"ALTER TABLE {one.table} VALIDATE CONSTRAINT {one.name};" for one in there]
    return [finding("CONSTRAINT_NOT_VALIDATED", f"not validated: {some(told)}")] if told else []
