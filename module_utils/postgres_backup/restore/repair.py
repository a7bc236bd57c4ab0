"""Chosen tables of one database become what they are in another, in one transaction, and nothing
else in it changes.

Locks come first, then looks: what is compared stays as it is until the commit. No rule or
referential action runs meanwhile, and a trigger only by request; foreign keys that would act are
taken off, and put on again, and so checked, at the end. Before the commit it is seen that nothing
else was written.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import psycopg
from psycopg import sql

from ..catalog.backups import Backup
from ..errors import DatabaseError
from ..findings import Finding
from ..machine.progress import Progress
from ..postgresql.connection import first_line, own_search_path, values
from . import table_rows
from .first_look import tables_meant
from .foreign_keys import ForeignKey, in_order, keys_around
from .kept_rows import MadeKey
from .key_effects import effects, refuse
from .loosened_keys import add
from .lost import lost_dependents, lost_keys, lost_objects
from .needs import require_makeable
from .new_keys import require_parents
from .partitions import require_room
from .row_security import require_every_row
from .row_writes import PATIENCE, lock, put_rows
from .silence import silence_event_triggers, told
from .stricter import require_fitting
from .table import Table
from .table_definitions import Made, made_with, move_sequences_on, set_rights, set_sequence
from .table_rows import Change
from .untouched import count_writes, family, require_untouched


@dataclasses.dataclass(frozen=True)
class Repair:
    """What it takes.

    :param side: where the tables are as they shall be; ``live``: where they are brought back, in a
        transaction of its own (of one snapshot in check mode).
    :param define: runs the definitions of a section (``pre-data``, ``post-data``) for what is gone.
    :param check: nothing is changed.
    :param triggers: the application's fire, as far as they are enabled.
    :param keep: called in the transaction, before the commit of a change, with what was changed,
        and the foreign keys that were made beside the tables.
    """

    side: psycopg.Connection
    live: psycopg.Connection
    backup: Backup
    define: Callable[[Sequence[Made], str], None]
    progress: Progress
    check: bool = False
    triggers: bool = False
    keep: Callable[[Sequence[Change], Sequence[MadeKey]], None] = lambda changes, keys: None


def repair(what: Repair, wanted: Sequence[str]) -> tuple[list[Change], list[Finding]]:
    """Bring these tables back; what became of each, and what is worth knowing.

    :raises UsageError: there is no such table, or it is another thing now.
    :raises DatabaseError: the result would not fit the other tables, or change them; nothing was
        changed.
    """
    what.side.execute(table_rows.EVERY_ROW)
    what.live.execute(table_rows.EVERY_ROW)
    own_search_path(what.side)
    own_search_path(what.live)
    what.live.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(PATIENCE)))
    try:
        return _repair(what, wanted)
    except psycopg.errors.ForeignKeyViolation as error:
        raise DatabaseError(
            f"Failed to bring the tables back: {first_line(error)} ({error.diag.message_detail})",
            "Name the other table too (tables=...), or restore the whole database; "
            "nothing was changed",
        ) from None
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
        raise DatabaseError(
            "Failed to bring the tables back: the application holds locks on them",
            "Stop it, then try again; nothing was changed",
        ) from None


def _repair(what: Repair, wanted: Sequence[str]) -> tuple[list[Change], list[Finding]]:
    live = what.live
    written_before = count_writes(live)
    back = silence_event_triggers(live)
    tables, keys = lock(live, lambda: _look(what, wanted), what.check)
    require_every_row(live, tables, keys)
    changes = []
    for table in tables:
        if table.live_oid is not None:
            what.progress.phase(f"comparing {table.label}")
        changes.append(table_rows.change_of(what.side, live, table))
        _require_all_rows(what, changes[-1])
    existing = [change for change in changes if change.table.live_oid is not None]
    for change in existing:
        require_room(what.side, live, change.table)
        require_fitting(what.side, live, change.table)
    gone = [table for table in tables if table.live_oid is None]
    made = made_with(what.side, gone)
    require_makeable(what.side, live, made, ", ".join(table.label for table in gone))
    require_parents(what.side, live, existing, [relation.oid for relation in made])
    found = effects(live, existing, keys)
    refuse(found)
    findings = [note for table in tables for note in lost_objects(what.side, live, table)]
    written = [oid for change in existing if change.total for oid in change.table.relations]
    findings += told(live, written, what.triggers)
    lost, again = lost_keys(what.side, live, tables)
    findings += [*lost, *lost_dependents(what.side, live, made)]
    if what.check:
        live.rollback()
        return changes, findings
    in_the_way = [effect.key for effect in found if effect.in_the_way]
    _write(what, changes, made, in_the_way)
    for statement in back:
        live.execute(statement)
    ours = _oids(tables, made, live)
    altered = [oid for key in in_the_way for oid in (key.child, key.parent)]
    if not what.triggers:  # those may write where they like
        require_untouched(live, written_before, ours, family(live, [*ours, *altered]))
    for key in again:
        add(live, key)
    if any(change.table.live_oid is None or change.total for change in changes):
        what.keep(changes, _made_keys(tables, again))
    live.commit()
    return changes, findings


def _made_keys(tables: Sequence[Table], again: Sequence[ForeignKey]) -> list[MadeKey]:
    """What an undo has to know of these keys."""
    of = {table.side_oid: table for table in tables}
    return [MadeKey(of[key.child].schema, of[key.child].name, key.name) for key in again]


_LEAVES = """
SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = %(oid)s OR c.oid IN (SELECT relid FROM pg_partition_tree(%(oid)s))"""


def _require_all_rows(what: Repair, change: Change) -> None:
    """Belt and braces: a table whose rows were not loaded would be emptied.

    :raises DatabaseError: the manifest knows of other rows.
    """
    manifest = what.backup.manifest
    if not manifest:
        return
    names = values(what.side, str, _LEAVES, {"oid": change.table.side_oid})
    known = [manifest["tables"][name]["rows"] for name in names if name in manifest["tables"]]
    if known and sum(known) != change.rows:
        raise DatabaseError(
            f"Failed to bring back {change.table.label}: {sum(known)} rows of it are in the backup,"
            f" and {change.rows} were loaded",
            "Restore the whole database, and please report this; nothing was changed",
        )


def _look(what: Repair, wanted: Sequence[str]) -> tuple[list[Table], list[ForeignKey]]:
    looked_at = tables_meant(what.side, what.live, what.backup, wanted)
    keys = keys_around(what.live, looked_at)
    return in_order(looked_at, keys), keys


def _write(
    what: Repair, changes: Sequence[Change], made: Sequence[Made], in_the_way: Sequence[ForeignKey]
) -> None:
    """Make the changes.

    :param made: what was gone and is made again.
    """
    live = what.live
    existing = [change for change in changes if change.table.live_oid is not None]
    what.define(made, "pre-data")

    def fill() -> None:
        for change in changes:
            if change.table.live_oid is None:
                table_rows.copy(what.side, live, change.table, change.table.identifier)

    relations = _oids([change.table for change in changes], made, live)
    put_rows(live, existing, in_the_way, relations, what.progress, what.triggers, fill)
    what.define(made, "post-data")
    for relation in made:
        set_rights(what.side, live, relation)
        set_sequence(what.side, live, relation)
    for change in changes:
        move_sequences_on(live, change.table)
    for change in existing:
        table_rows.require_equal(live, change.table)


def _oids(tables: Sequence[Table], made: Sequence[Made], live: psycopg.Connection) -> list[int]:
    """The live relations of tables that are there, and of those that have just been made."""
    names = [relation.identifier.as_string(live) for relation in made if relation.kind != "S"]
    return [
        *(oid for table in tables for oid in table.relations),
        *values(live, int, "SELECT to_regclass(n)::oid FROM unnest(%s::text[]) n", (names,)),
    ]
