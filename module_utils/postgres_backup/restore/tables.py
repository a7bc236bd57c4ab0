"""Bring back chosen tables of a backup and leave the rest of the live database as it is.

The backup is loaded and proved beside the live database, as for a whole restore. Then, in one
transaction of the live one, each table becomes what it was: rows that differ are set back, missing
ones inserted, later ones deleted. Foreign keys stay in force all the while, so a result that does
not fit the other tables is refused.
"""

from __future__ import annotations

import dataclasses
import subprocess
import time

import psycopg
from psycopg import sql

from ..catalog import journal
from ..catalog.backups import layout_for
from ..clock import utc_now
from ..errors import DatabaseError, UsageError
from ..findings import finding
from ..health import outcome
from ..job import Job
from ..machine import lock
from ..machine.progress import Progress
from ..postgresql.connection import connect, first_line
from ..text import human_seconds, nearest
from .preflight import Plan, plan
from .side_database import discard_side_database, load_beside

#: how both servers write values, so that they are compared and copied alike
_WRITTEN_ALIKE = "SET datestyle = 'ISO, MDY'; SET intervalstyle = 'postgres'; SET extra_float_digits = 3; SET bytea_output = 'hex'; SET row_security = off"

_TABLE = """
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)"""
_COLUMNS = """
SELECT attname AS name, format_type(atttypid, atttypmod) AS type, attgenerated <> '' AS generated, attidentity = 'a' AS always
FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
# a primary key, or else a unique index that can stand for one
_KEY = """
SELECT array_agg(a.attname ORDER BY k.n) AS key
FROM pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n) JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %s AND i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL AND k.n <= i.indnkeyatts
GROUP BY i.indexrelid, i.indisprimary HAVING bool_and(a.attnotnull) ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1"""
_REFERENCES = """
SELECT conrelid AS child, confrelid AS parent, conrelid::regclass::text AS child_name, conname AS name, confdeltype AS on_delete,
       (SELECT array_agg(attname ORDER BY n) FROM unnest(conkey) WITH ORDINALITY AS k(num, n)
        JOIN pg_attribute ON attrelid = conrelid AND attnum = num) AS child_columns,
       (SELECT array_agg(attname ORDER BY n) FROM unnest(confkey) WITH ORDINALITY AS k(num, n)
        JOIN pg_attribute ON attrelid = confrelid AND attnum = num) AS parent_columns,
       pg_get_constraintdef(oid) AS definition
FROM pg_constraint WHERE contype = 'f' AND confrelid = ANY(%s) AND conparentid = 0"""
_TRIGGERS = "SELECT tgname AS name, tgenabled AS state FROM pg_trigger WHERE tgrelid = %s AND NOT tgisinternal AND tgenabled <> 'D' AND tgparentid = 0"
_TRIGGER_STATES = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}


@dataclasses.dataclass
class Table:
    """A chosen table, as it is in the backup and, where it still exists, in the live database."""

    schema: str
    name: str
    side_oid: int
    live_oid: int | None
    columns: list[dict]
    key: list[str]
    stage: sql.Identifier
    #: rows in the backup; and what makes the live table equal to it
    rows: int = 0
    inserted: int = 0
    updated: int = 0
    deleted: int = 0

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def label(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def stored(self) -> list[str]:
        """The columns that hold data of their own."""
        return [column["name"] for column in self.columns if not column["generated"]]

    def column_list(self, alias: str = "", columns: list[str] | None = None) -> sql.Composable:
        prefix = [alias] if alias else []
        return sql.SQL(", ").join(
            sql.Identifier(*prefix, column)
            for column in (self.stored if columns is None else columns)
        )

    def same_key(self) -> sql.Composable:
        return sql.SQL(" AND ").join(
            sql.SQL("s.{0} = l.{0}").format(sql.Identifier(column)) for column in self.key
        )

    def describe(self) -> dict:
        facts = {
            "table": self.label,
            "rows": self.rows,
            "inserted": self.inserted,
            "updated": self.updated,
            "deleted": self.deleted,
        }
        return facts | {"created": self.live_oid is None}


def restore_tables(job: Job, backup: str, tables: list[str]) -> dict:
    """The chosen tables become what they were in a backup.

    :param tables: names as in SQL: ``users``, ``public.orders``, ``"My table"``.
    :param check: load and compare all the same (only so can the differences be known), and change
        nothing in the live database.
    :return: ``backup database key tables`` (each ``table rows inserted updated deleted created``)
        ``rows seconds findings changed``.
    :raises UsageError: a table is not in the backup, or has other columns now.
    :raises DatabaseError: the result would not fit the other tables; the live database is as it
        was.
    """
    job.require()
    made = plan(job, backup, True)
    if made.live is None:
        raise UsageError(
            f"There is no database {job.database} to bring tables back into",
            "Restore all of it: without tables",
        )
    with (
        lock.hold(job.settings, job.database, "restore of tables"),
        outcome.noted(
            job.settings,
            "restore",
            job.database,
            {"backup": str(made.backup.name)},
            check=job.check,
        ),
    ):
        began = time.monotonic()
        side, facts = load_beside(job, made)
        try:
            chosen, findings = _bring_back(job, made, side, tables)
        finally:
            discard_side_database(job, side)
        result = {
            "changed": any(
                t.live_oid is None or t.inserted or t.updated or t.deleted for t in chosen
            ),
            "backup": str(made.backup.name),
            "database": job.database,
            "key": made.backup.key,
            "tables": [table.describe() for table in chosen],
            "rows": sum(table.rows for table in chosen),
            "seconds": round(time.monotonic() - began, 1),
            "findings": facts["findings"] + findings,
        }
        if not job.check:
            noted = {key: result[key] for key in ("backup", "database", "tables", "seconds")}
            result["findings"] += journal.record(
                job.store,
                layout_for(job.settings, job.database),
                utc_now(),
                "restore-tables",
                noted,
            )
    names = ", ".join(table.label for table in chosen)
    job.progress.step(
        f"{job.database}: {names} {'would be' if job.check else 'are'} as in {result['backup']}: {result['rows']} rows, {human_seconds(result['seconds'])}"
    )
    return result


def _bring_back(
    job: Job, made: Plan, side: str, tables: list[str]
) -> tuple[list[Table], list[dict]]:
    with (
        connect(job.settings, side) as source,
        connect(job.settings, made.database, "READ_COMMITTED") as live,
    ):
        source.execute(_WRITTEN_ALIKE)
        live.execute(_WRITTEN_ALIKE)
        live.execute("SET LOCAL lock_timeout = '30s'")
        chosen = _in_order(
            source, [_look(source, live, made, number, name) for number, name in enumerate(tables)]
        )
        existing = [table for table in chosen if table.live_oid is not None]
        try:
            if not job.check and existing:
                names = sql.SQL(", ").join(table.identifier for table in existing)
                live.execute(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(names))
            for table in existing:
                job.progress.phase(f"comparing {table.label}")
                _stage(source, live, table)
                _count_differences(live, table)
            for table in chosen:
                if table.live_oid is None:
                    table.rows = table.inserted = source.execute(
                        sql.SQL("SELECT count(*) AS n FROM {}").format(table.identifier)
                    ).fetchone()["n"]
            _refuse_cascades(live, existing)
            if job.check:
                live.rollback()
                return chosen, []
            _apply(made, side, source, live, chosen, job.progress)
            findings = _lost_references(source, live, chosen)
            live.commit()
            return chosen, findings
        except psycopg.errors.ForeignKeyViolation as error:
            raise DatabaseError(
                f"Failed to bring the tables back: {first_line(error)} ({error.diag.message_detail})",
                "Name the other table too (tables=...), or restore the whole database; nothing was changed",
            ) from None
        except psycopg.errors.LockNotAvailable:
            raise DatabaseError(
                "Failed to bring the tables back: the application holds locks on them",
                "Stop it, then try again; nothing was changed",
            ) from None


def _look(
    source: psycopg.Connection, live: psycopg.Connection, made: Plan, number: int, wanted: str
) -> Table:
    """:raises UsageError: not a table of the backup, or of other columns now."""
    there = _find(source, wanted)
    if there is None or there["kind"] not in ("r", "p"):
        known = list((made.backup.manifest or {}).get("tables", {}))
        near = nearest(wanted, known)
        raise UsageError(
            f"There is no table {wanted} in {made.backup.name}",
            f"The nearest: {', '.join(near)}" if near else "",
        )
    columns = source.execute(_COLUMNS, (there["oid"],)).fetchall()
    qualified = sql.Identifier(there["schema"], there["name"]).as_string(live)
    here = _find(live, qualified)
    key = []
    if here is not None:
        now = live.execute(_COLUMNS, (here["oid"],)).fetchall()
        before, after = (
            {(c["name"], c["type"], c["generated"]) for c in one} for one in (columns, now)
        )
        if before != after:
            differ = ", ".join(sorted({name for name, *_ in before ^ after}))
            raise UsageError(
                f"{wanted} has other columns now than in {made.backup.name}: {differ}",
                "Restore the whole database, look at the rows in the database it is kept beside, and copy what you need by hand",
            )
        found = live.execute(_KEY, (here["oid"],)).fetchone()
        key = found["key"] if found else []
    return Table(
        there["schema"],
        there["name"],
        there["oid"],
        here["oid"] if here else None,
        columns,
        key,
        sql.Identifier(f"postgres_backup_stage_{number}"),
    )


def _find(connection: psycopg.Connection, wanted: str) -> dict | None:
    try:
        with connection.transaction():
            return connection.execute(_TABLE, (wanted,)).fetchone()
    except (psycopg.errors.SyntaxError, psycopg.errors.InvalidName):
        raise UsageError(
            f"{wanted} is not the name of a table",
            'Write it as in SQL: users, public.orders, "My table"',
        ) from None


def _in_order(source: psycopg.Connection, tables: list[Table]) -> list[Table]:
    """Parents before the children that refer to them; a circle stays in the order in which it was
    named.
    """
    parents = {table.side_oid: set() for table in tables}
    for reference in source.execute(_REFERENCES, (list(parents),)):
        if reference["child"] in parents and reference["child"] != reference["parent"]:
            parents[reference["child"]].add(reference["parent"])
    ordered: list[Table] = []
    waiting = list({table.side_oid: table for table in tables}.values())
    while waiting:
        done = {table.side_oid for table in ordered}
        free = [table for table in waiting if parents[table.side_oid] <= done] or waiting[:1]
        ordered += free
        waiting = [table for table in waiting if table not in free]
    return ordered


def _stage(source: psycopg.Connection, live: psycopg.Connection, table: Table) -> None:
    """The rows of the backup, in a temporary table of the live database that the transaction takes
    with it.
    """
    live.execute(
        sql.SQL("CREATE TEMPORARY TABLE {} ON COMMIT DROP AS SELECT {} FROM {} LIMIT 0").format(
            table.stage, table.column_list(), table.identifier
        )
    )
    _copy(source, live, table, table.stage)
    live.execute(sql.SQL("ANALYZE {}").format(table.stage))
    table.rows = live.execute(
        sql.SQL("SELECT count(*) AS n FROM {}").format(table.stage)
    ).fetchone()["n"]


def _copy(
    source: psycopg.Connection, live: psycopg.Connection, table: Table, target: sql.Identifier
) -> None:
    out = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(
        table.column_list(), table.identifier
    )
    into = (
        sql.SQL("COPY {} ({}) FROM STDIN").format(target, table.column_list())
        if table.stored
        else sql.SQL("COPY {} FROM STDIN").format(target)
    )
    with source.cursor().copy(out) as rows, live.cursor().copy(into) as sink:
        for data in rows:
            sink.write(data)


def _count_differences(live: psycopg.Connection, table: Table) -> None:
    def count(query: str) -> int:
        parts = {
            "stage": table.stage,
            "live": table.identifier,
            "columns": table.column_list(),
            "same": table.same_key(),
            "differ": _differ(table),
        }
        return live.execute(
            sql.SQL("SELECT count(*) AS n FROM " + query).format(**parts)
        ).fetchone()["n"]

    if table.key:
        table.inserted = count("{stage} s WHERE NOT EXISTS (SELECT FROM {live} l WHERE {same})")
        table.deleted = count("{live} l WHERE NOT EXISTS (SELECT FROM {stage} s WHERE {same})")
        table.updated = count("{stage} s JOIN {live} l ON {same} WHERE {differ}")
    else:
        rows = "(SELECT ROW({columns})::text FROM {%s} EXCEPT ALL SELECT ROW({columns})::text FROM {%s}) x"
        table.inserted = count(rows % ("stage", "live"))
        table.deleted = count(rows % ("live", "stage"))


def _differ(table: Table) -> sql.Composable:
    """As text: not every type (json, xml, point) knows equality."""
    others = [name for name in table.stored if name not in table.key]
    return sql.SQL("ROW({})::text IS DISTINCT FROM ROW({})::text").format(
        table.column_list("s", others), table.column_list("l", others)
    )


def _refuse_cascades(live: psycopg.Connection, tables: list[Table]) -> None:
    """:raises DatabaseError: deleting rows that came after the backup would take or change rows of
    tables that nobody named.
    """
    by_oid = {table.live_oid: table for table in tables}
    for reference in live.execute(_REFERENCES, (list(by_oid),)).fetchall():
        table = by_oid[reference["parent"]]
        if (
            reference["child"] in by_oid
            or reference["on_delete"] in ("a", "r")
            or not table.deleted
            or not table.key
        ):
            continue
        match = sql.SQL(" AND ").join(
            sql.SQL("c.{} = l.{}").format(sql.Identifier(c), sql.Identifier(p))
            for c, p in zip(reference["child_columns"], reference["parent_columns"], strict=True)
        )
        hit = live.execute(
            sql.SQL(
                "SELECT count(*) AS n FROM {child} c JOIN {live} l ON {match} WHERE NOT EXISTS (SELECT FROM {stage} s WHERE {same})"
            ).format(
                child=sql.SQL(reference["child_name"]),
                live=table.identifier,
                match=match,
                stage=table.stage,
                same=table.same_key(),
            )
        ).fetchone()["n"]
        if hit:
            raise DatabaseError(
                f"{hit} rows of {reference['child_name']} belong to rows of {table.label} that came after the backup, and would go with them (ON DELETE)",
                f"Name that table too: tables=...,{reference['child_name']}; or restore the whole database. Nothing was changed",
            )


def _apply(
    made: Plan,
    side: str,
    source: psycopg.Connection,
    live: psycopg.Connection,
    chosen: list[Table],
    progress: Progress,
) -> None:
    existing = [table for table in chosen if table.live_oid is not None]
    missing = [table for table in chosen if table.live_oid is None]
    triggers = _silence_triggers(live, existing)
    for table in reversed(existing):
        if table.deleted:
            progress.phase(f"deleting {table.deleted} later rows of {table.label}")
            keep = (
                sql.SQL("EXISTS (SELECT FROM {} s WHERE {})").format(table.stage, table.same_key())
                if table.key
                else sql.SQL("false")
            )
            live.execute(sql.SQL("DELETE FROM {} l WHERE NOT {}").format(table.identifier, keep))
        elif not table.key and table.inserted:
            live.execute(sql.SQL("DELETE FROM {}").format(table.identifier))
    _run_definitions(made, side, live, missing, "pre-data")
    for table in chosen:
        progress.phase(
            f"bringing back {table.label}: {table.inserted} rows missing, {table.updated} changed"
        )
        if table.live_oid is None:
            _copy(source, live, table, table.identifier)
        else:
            _merge(live, table)
    _run_definitions(made, side, live, missing, "post-data")
    for statement in triggers:
        live.execute(statement)
    for table in chosen:
        _move_sequences_on(live, table)
    for table in existing:
        _insist(live, table)


def _merge(live: psycopg.Connection, table: Table) -> None:
    always = {column["name"] for column in table.columns if column["always"]}
    others = [name for name in table.stored if name not in table.key and name not in always]
    if table.updated and others:
        pairs = sql.SQL(", ").join(
            sql.SQL("{0} = s.{0}").format(sql.Identifier(name)) for name in others
        )
        live.execute(
            sql.SQL("UPDATE {} l SET {} FROM {} s WHERE {} AND {}").format(
                table.identifier, pairs, table.stage, table.same_key(), _differ(table)
            )
        )
    if table.inserted or (table.deleted and not table.key):
        absent = (
            sql.SQL("WHERE NOT EXISTS (SELECT FROM {} l WHERE {})").format(
                table.identifier, table.same_key()
            )
            if table.key
            else sql.SQL("")
        )
        live.execute(
            sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} s {}").format(
                table.identifier, table.column_list(), table.column_list("s"), table.stage, absent
            )
        )


def _silence_triggers(live: psycopg.Connection, tables: list[Table]) -> list[sql.Composable]:
    """Switch the tables' own triggers off (foreign keys stay on): an audit trail must not record a
    restore as a day's work.

    :return: the statements that switch them on again, each as it was.
    """
    back = []
    for table in tables:
        for trigger in live.execute(_TRIGGERS, (table.live_oid,)).fetchall():
            names = (table.identifier, sql.Identifier(trigger["name"]))
            live.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER {}").format(*names))
            back.append(
                sql.SQL(
                    "ALTER TABLE {} " + _TRIGGER_STATES[trigger["state"]] + " TRIGGER {}"
                ).format(*names)
            )
    return back


def _run_definitions(
    made: Plan, side: str, live: psycopg.Connection, tables: list[Table], section: str
) -> None:
    """The definitions of tables that are gone, as pg_dump writes them from the side database."""
    if not tables:
        return
    patterns = [
        f"--table={sql.Identifier(table.schema, table.name).as_string(live)}" for table in tables
    ]
    with made.tools.start(
        "pg_dump", side, f"--section={section}", *patterns, stdout=subprocess.PIPE
    ) as process:
        text = process.child.stdout.read()
        process.check()
    lines = [
        line
        for line in text.decode().splitlines()
        if not line.startswith(("\\restrict ", "\\unrestrict "))
    ]
    live.execute("\n".join(lines).encode())
    live.execute("RESET search_path")


def _move_sequences_on(live: psycopg.Connection, table: Table) -> None:
    """Numbers that the table's rows have used are not given out again."""
    for column in table.stored:
        owned = live.execute(
            "SELECT pg_get_serial_sequence(%s, %s) AS s", (table.identifier.as_string(live), column)
        ).fetchone()["s"]
        if not owned:
            continue
        live.execute(
            sql.SQL(
                "SELECT setval({name}, top.n) FROM (SELECT max({column}) AS n FROM {table}) top, {sequence} now"
                " WHERE top.n > now.last_value OR (top.n = now.last_value AND NOT now.is_called)"
            ).format(
                name=sql.Literal(owned),
                column=sql.Identifier(column),
                table=table.identifier,
                sequence=sql.SQL(owned),
            )
        )


def _insist(live: psycopg.Connection, table: Table) -> None:
    """:raises DatabaseError: something (a rule, a generated default) made other rows of ours."""
    wanted = (table.inserted, table.updated, table.deleted)
    table.inserted = table.updated = table.deleted = 0
    _count_differences(live, table)
    left = table.inserted + table.updated + table.deleted
    table.inserted, table.updated, table.deleted = wanted
    if left:
        raise DatabaseError(
            f"Failed to bring back {table.label}: {left} rows are not as in the backup after all",
            "Rules on the table? Nothing was changed",
        )


def _lost_references(
    source: psycopg.Connection, live: psycopg.Connection, chosen: list[Table]
) -> list[dict]:
    """Foreign keys that pointed at a table which was gone: they went with it, and belong to tables
    that nobody named.
    """
    missing = {table.side_oid: table for table in chosen if table.live_oid is None}
    findings = []
    for reference in source.execute(_REFERENCES, (list(missing),)).fetchall():
        have = live.execute(
            "SELECT 1 FROM pg_constraint WHERE conname = %s AND conrelid = to_regclass(%s)",
            (reference["name"], reference["child_name"]),
        ).fetchone()
        if not have:
            statement = f"ALTER TABLE {reference['child_name']} ADD CONSTRAINT {sql.Identifier(reference['name']).as_string(live)} {reference['definition']};"
            findings.append(
                finding(
                    "FOREIGN_KEY_MISSING",
                    f"{missing[reference['parent']].label} was gone and its foreign key with it: {statement}",
                )
            )
    return findings


def lines(result: dict, check: bool = False) -> list[str]:
    """:func:`restore_tables` for a person; the first line is what the log ends with.

    :param check: nothing was changed in the live database.
    """
    names = ", ".join(table["table"] for table in result["tables"])
    return [
        (
            f"{result['database']}: {names} {'would be' if check else 'are'} as in "
            f"{result['backup']}: {result['rows']} rows, {human_seconds(result['seconds'])}"
        ),
        *(
            f"{table['table']}: {table['rows']} rows: {table['inserted']} inserted, "
            f"{table['updated']} set back, {table['deleted']} later ones deleted"
            + (", the table created" if table["created"] else "")
            for table in result["tables"]
        ),
        *(one["message"] for one in result["findings"]),
    ]
