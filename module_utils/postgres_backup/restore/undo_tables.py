"""The undo of a restore of tables: the rows that it has changed become what they were, from the
database that keeps them; what came since stays, and what has changed since refuses it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypedDict, final

import psycopg
from psycopg import sql

from ..errors import DatabaseError, UsageError
from ..findings import Finding
from ..job import Job
from ..postgresql import last_change
from ..postgresql.connection import connect, first_line, own_search_path, values
from ..postgresql.facts import DatabaseFacts
from ..postgresql.replaced import KeptDatabase
from . import kept_rows, table_rows
from .columns import columns_of
from .foreign_keys import ForeignKey, in_order, keys_around, keys_of
from .kept_rows import KeptTable
from .key_effects import effects, refuse
from .row_security import require_every_row
from .row_writes import PATIENCE, lock, put_rows
from .silence import silence_event_triggers
from .table import Table, look_at
from .table_names import Relation, find
from .table_rows import Change, TableResult
from .untouched import count_writes, family, require_untouched


@final
class UndoTablesResult(TypedDict):
    """An undo of a restore of tables.

    :param restored_database: where the rows were kept; ``kept_database``: where those are that the
        undo has changed, None in check mode or where there are none.
    :param dropped: the tables that the restore had made, and that are gone again.
    """

    changed: bool
    database: str
    restored_database: str
    kept_database: str | None
    tables: list[TableResult]
    dropped: list[str]
    findings: list[Finding]


# what goes with these relations, and what would be in the way: a view is seen by its rule
_HANGING = """
WITH RECURSIVE goes (classid, objid) AS (
    SELECT 'pg_class'::regclass::oid, unnest(%(oids)s::oid[])
    UNION
    SELECT d.classid, d.objid
    FROM goes JOIN pg_depend d ON d.refclassid = goes.classid AND d.refobjid = goes.objid
    WHERE d.deptype IN ('a', 'i', 'P', 'S')
), bound (oid) AS (
    SELECT unnest(%(bound)s::oid[])
    UNION SELECT k.oid FROM bound JOIN pg_constraint k ON k.conparentid = bound.oid)
SELECT DISTINCT coalesce(pg_describe_object('pg_class'::regclass, r.ev_class, 0),
           pg_describe_object(d.classid, d.objid, 0))
       || ' depends on ' || pg_describe_object(d.refclassid, d.refobjid, 0)
FROM goes JOIN pg_depend d ON d.refclassid = goes.classid AND d.refobjid = goes.objid
LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    AND r.rulename = '_RETURN'
WHERE d.deptype = 'n' AND (d.classid, d.objid) NOT IN (SELECT classid, objid FROM goes)
  AND NOT (d.classid = 'pg_constraint'::regclass AND d.objid IN (SELECT oid FROM bound))
ORDER BY 1"""


def undo_tables(job: Job, chosen: KeptDatabase, live_facts: DatabaseFacts) -> UndoTablesResult:
    """Take a restore of tables back; in check mode it is only said what would be.

    :raises UsageError: the tables are not there any more, or have other columns.
    :raises DatabaseError: rows have changed since, or the result would not fit other tables.
    """
    if job.check:
        with (
            connect(job.settings, chosen.name) as kept,
            connect(job.settings, job.database, "REPEATABLE_READ") as live,
        ):
            changes, dropped = _Undo(job, chosen, kept, live).run("")
        return _result(job, chosen, changes, dropped, None)
    with (
        kept_rows.begun(job, live_facts) as new,
        connect(job.settings, chosen.name) as kept,
        connect(job.settings, job.database, "READ_COMMITTED") as live,
    ):
        changes, dropped = _Undo(job, chosen, kept, live).run(new)
    return _result(job, chosen, changes, dropped, new if _any(changes) else None)


def _any(changes: Sequence[Change]) -> bool:
    return any(change.total for change in changes)


def _result(
    job: Job, chosen: KeptDatabase, changes: list[Change], dropped: list[str], new: str | None
) -> UndoTablesResult:
    return {
        "changed": True,
        "database": job.database,
        "restored_database": chosen.name,
        "kept_database": new,
        "tables": [change.describe() for change in changes],
        "dropped": dropped,
        "findings": [],
    }


@dataclasses.dataclass(frozen=True)
class _Undo:
    job: Job
    chosen: KeptDatabase
    kept: psycopg.Connection
    live: psycopg.Connection

    def run(self, new: str) -> tuple[list[Change], list[str]]:
        """What becomes of each table, and the tables that are dropped.

        :param new: the database that keeps what is changed.
        """
        live = self.live
        live.execute(table_rows.EVERY_ROW)
        own_search_path(live)
        live.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(PATIENCE)))
        try:
            return self._run(new)
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            raise DatabaseError(
                "Failed to undo: the application holds locks on the tables",
                "Stop it, then try again; nothing was changed",
            ) from None
        except psycopg.errors.IntegrityError as error:
            raise DatabaseError(
                f"Failed to undo: the rows of before do not fit what is there now: "
                f"{first_line(error)}",
                "Nothing was changed. The rows are in the tables before_... of "
                f"{self.chosen.name}: copy what you need by hand",
            ) from None

    def _run(self, new: str) -> tuple[list[Change], list[str]]:
        live = self.live
        written_before = count_writes(live)
        back = silence_event_triggers(live)
        everything = kept_rows.tables_in(self.kept)
        ones = {one.number: one for one in everything if not one.created}
        numbers: dict[int, int] = {}

        made = [one for one in everything if one.created]
        doomed = [self._as_it_was_made(one) for one in made]
        gone = [one.label for one in made]
        bound = self._keys_that_go(doomed)

        def look() -> tuple[list[Table], list[ForeignKey]]:
            tables = []
            for one in ones.values():
                table = self._look(one)
                numbers[table.side_oid] = one.number
                tables.append(table)
            going = {key.oid for key in bound}
            keys = [key for key in keys_around(live, tables) if key.oid not in going]
            return in_order(tables, keys), keys

        tables, keys = lock(live, look, self.job.check)
        require_every_row(live, tables, keys)
        changes = [self._change(table, ones[numbers[table.side_oid]]) for table in tables]
        found = effects(live, changes, keys)
        refuse(found)
        self._require_droppable(doomed, bound)
        if self.job.check:
            live.rollback()
            return changes, gone
        for key in bound:
            live.execute(
                sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                    sql.SQL(key.child_name), sql.Identifier(key.name)
                )
            )
        in_the_way = [effect.key for effect in found if effect.in_the_way]
        relations = [oid for table in tables for oid in table.relations]
        put_rows(live, changes, in_the_way, relations, self.job.progress)
        for change in changes:
            table_rows.require_equal(live, change.table)
        relations += doomed
        altered = [oid for key in (*in_the_way, *bound) for oid in (key.child, key.parent)]
        require_untouched(live, written_before, relations, family(live, [*relations, *altered]))
        self._drop(made)
        for statement in back:
            live.execute(statement)
        last_change.note(live, self.job.database, f"undo of the {self.chosen.by}")
        if _any(changes):
            kept_rows.keep(self.job, new, live, changes)
            by = f"undo of the {self.chosen.by}"
            kept_rows.finish(self.job, new, live, by, self.job.database)
        live.commit()
        return changes, gone

    def _look(self, one: KeptTable) -> Table:
        now = find(self.live, one.identifier.as_string(self.live))
        columns = columns_of(self.live, now.oid) if now else []
        if now is None or not kept_rows.columns_fit(one, columns):
            raise UsageError(
                f"{one.label} is gone, or has other columns than when {self.chosen.name} was kept",
                f"Its rows of before are in {self.chosen.name}, in {one.before.as_string(None)}: "
                "copy what you need by hand",
            )
        there = Relation(now.oid, now.schema, now.name, now.kind)
        return look_at(self.live, there, there, columns, (), one.number)

    def _change(self, table: Table, one: KeptTable) -> Change:
        """Stage what the table shall hold: what it holds now, without what the restore has written
        into it, and with what it has taken out.
        """
        live = self.live
        for source, target in ((one.before, table.before), (one.after, table.after)):
            table_rows.make_like(live, table, target)
            out = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT").format(
                table_rows.listed(table.stored), source
            )
            table_rows.pour(self.kept, out, live, table_rows.into(table, target))
        lost, taken = table_rows.stage_without(live, table)
        if lost or taken:
            said = (
                f"{lost} rows that it has written were changed or are gone"
                if lost
                else f"{taken} rows came since whose keys it would bring back"
            )
            raise DatabaseError(
                f"Failed to undo the {self.chosen.by}: in {table.label} {said}",
                f"Nothing was changed. How its rows were before is in {self.chosen.name}, in "
                f"{one.before.as_string(None)}, what was written in {one.after.as_string(None)}: "
                "copy what you need by hand",
            )
        change = table_rows.differences(live, table)
        for name in (table.before, table.after):
            live.execute(sql.SQL("DROP TABLE {}").format(name))
        return change

    def _as_it_was_made(self, one: KeptTable) -> int:
        """A table that the restore has made, and that nobody has changed since."""
        live = self.live
        now = find(live, one.identifier.as_string(live))
        said = "is gone, or has other columns since"
        if now is not None and kept_rows.columns_fit(one, columns_of(live, now.oid)):
            if not self.job.check:
                lock = sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE")
                live.execute(lock.format(one.identifier))
            holds = kept_rows.fingerprint(live, one.identifier, one.columns)
            if holds == kept_rows.Fingerprint(one.rows, one.fingerprint):
                return now.oid
            said = "was written to since"
        raise DatabaseError(
            f"Failed to undo the {self.chosen.by}: {one.label}, which it has made, {said}",
            "Nothing was changed. Drop it by hand, or leave it",
        )

    def _keys_that_go(self, doomed: Sequence[int]) -> list[ForeignKey]:
        """The foreign keys of tables that the restore has made, and those to them that it has made
        too: they are no reason against the rows of before.
        """
        live = self.live
        tree = "SELECT relid::oid FROM unnest(%s::oid[]) oid, pg_partition_tree(oid)"
        own = {*doomed, *values(live, int, tree, (list(doomed),))}
        children = [
            (now.oid, key.key)
            for key in kept_rows.keys_in(self.kept)
            if (now := find(live, sql.Identifier(key.schema, key.name).as_string(live)))
        ]
        return [
            key
            for key in keys_of(live, list(own))
            if key.child in own or (key.child, key.name) in children
        ]

    def _require_droppable(self, doomed: Sequence[int], bound: Sequence[ForeignKey]) -> None:
        """See that nothing of somebody else's hangs on the tables that go.

        :param bound: foreign keys that go before them.
        """
        asked = {"oids": list(doomed), "bound": [key.oid for key in bound]}
        hanging = values(self.live, str, _HANGING, asked)
        if hanging:
            raise DatabaseError(
                f"Failed to undo the {self.chosen.by}: tables that it has made are in use: "
                f"{', '.join(hanging)}",
                "Drop that first, then type the same again; nothing was changed",
            )

    def _drop(self, made: Sequence[KeptTable]) -> None:
        if made:
            self.live.execute(
                sql.SQL("DROP TABLE {}").format(sql.SQL(", ").join(one.identifier for one in made))
            )


def lines(result: UndoTablesResult, check: bool = False) -> list[str]:
    """:func:`undo_tables` for a person; the first line is what the log ends with."""
    name, kept = result["database"], result["restored_database"]
    would = "would be" if check else "is"
    again = result["kept_database"]
    return [
        f"{name}: what is kept in {kept} {would} taken back"
        + (f"; what that has changed is kept as {again}" if again else ""),
        *(
            f"{table['table']}: {table['inserted']} rows inserted, {table['updated']} set back, "
            f"{table['deleted']} deleted"
            for table in result["tables"]
        ),
        *(
            f"{table}: {would} gone again; restore --tables brings it back"
            for table in result["dropped"]
        ),
        *(found["message"] for found in result["findings"]),
    ]
