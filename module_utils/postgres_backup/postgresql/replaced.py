"""Side databases, which restores fill, and kept databases, which restores have replaced.

A kept database is called ``<name>_before_<time>``, a side database ``<name>_restore_<time>``, and
each carries a mark (``mark``) in its comment. Only where both are ours, and the mark was made on
this very database, is it ours: under another name, or copied from elsewhere, somebody has adopted
it.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import TypeVar

import psycopg

from ..clock import format_timestamp
from ..errors import DatabaseError, UsageError
from ..settings import Settings
from ..text import nearest
from . import mark, subscriptions, written
from .connection import connect_maintenance, rows, value, values
from .databases import comment_on
from .facts import system_identifier
from .mark import Mark

#: in the mark of a kept database: subscriptions that were on until it was replaced
_STOPPED = "subscriptions"
#: in the mark of a database with rows: it is not complete, nor does it stand for anything yet
_BEGUN = "begun"
#: in the mark of a side database: what it is made for, where that is no restore
_ERRAND, _DRILL = "for", "drill"


@dataclasses.dataclass(frozen=True)
class KeptDatabase:
    """A database that a restore, or an undo, has replaced; or one with the rows that a restore of
    tables has changed.

    :param by: what replaced it.
    :param bytes: its size; None where we may not know.
    :param comment: its own, from when it was live.
    :param mark: all that its comment says.
    """

    name: str
    oid: int
    replaced_at: datetime
    by: str
    bytes: int | None
    comment: str | None
    mark: Mark

    @property
    def holds_rows(self) -> bool:
        """It holds rows of tables, and was never live."""
        return self.mark.kind == mark.ROWS


#: :class:`KeptDatabase`, or what stands beside the live one likewise (see :mod:`.copies`)
K = TypeVar("K", bound=KeptDatabase)


@dataclasses.dataclass(frozen=True)
class SideDatabase:
    """A database that is being restored.

    :param backup: the backup that is loaded into it.
    :param comment: what it gets for its own once it is live.
    :param drill: it never will be.
    """

    name: str
    backup: str
    comment: str | None
    drill: bool = False


def server_now(connection: psycopg.Connection) -> datetime:
    """The PostgreSQL server's own clock, UTC, to the second: what its databases' ages go by."""
    now = value(connection, datetime, "SELECT clock_timestamp()")
    return now.astimezone(timezone.utc).replace(microsecond=0)


def side_name(connection: psycopg.Connection, database: str, moment: datetime) -> str:
    """``<name>_restore_<time>``; where that is taken, of the next free second."""
    while _is_taken(connection, mark.side_name(database, moment)):
        moment += timedelta(seconds=1)
    return mark.side_name(database, moment)


def kept_name(connection: psycopg.Connection, database: str, moment: datetime) -> str:
    """``<name>_before_<time>``, of a second after every other that is kept (two swaps within a
    second, a clock that went back): the newest is what an undo brings back, so which one that is
    must never be in doubt.
    """
    return _next_name(connection, database, moment, mark.kept_name)


def rows_name(connection: psycopg.Connection, database: str) -> str:
    """``<name>_rows_<time>``, of a second after every other that is kept: see :func:`kept_name`."""
    return _next_name(connection, database, server_now(connection), mark.rows_name)


def _next_name(
    connection: psycopg.Connection,
    database: str,
    moment: datetime,
    name: Callable[[str, datetime], str],
) -> str:
    after = [other.replaced_at + timedelta(seconds=1) for other in kept(connection, database)]
    moment = max([moment, *after])
    while _is_taken(connection, name(database, moment)):
        moment += timedelta(seconds=1)
    return name(database, moment)


def _is_taken(connection: psycopg.Connection, name: str) -> bool:
    return bool(values(connection, int, "SELECT 1 FROM pg_database WHERE datname = %s", (name,)))


def oid_of(connection: psycopg.Connection, name: str) -> int | None:
    """What a database is whatever it is called; None where there is none of that name."""
    found = values(
        connection, int, "SELECT oid::bigint FROM pg_database WHERE datname = %s", (name,)
    )
    return found[0] if found else None


def side_comment(
    connection: psycopg.Connection,
    name: str,
    database: str,
    backup: str,
    comment: str | None,
    drill: bool = False,
) -> str:
    """The mark of the side database ``name``, which is there.

    :param comment: what it gets for its own once it is swapped in.
    :param drill: it never will be.
    """
    errand = {_ERRAND: _DRILL} if drill else {}
    return mark.make(
        mark.SIDE,
        database,
        comment,
        backup=backup,
        **errand,
        oid=oid_of(connection, name),
        system=system_identifier(connection),
    ).written()


def kept_comment(
    connection: psycopg.Connection, database: str, name: str, reason: str, comment: str | None
) -> str:
    """The mark of the kept database ``name`` (as :func:`kept_name` found it), made while nobody can
    be in it: what is written to it from now on shows (``written``).

    :param comment: the live database's own, which comes back with it.
    """
    return mark.make(
        mark.KEPT,
        database,
        comment,
        replaced_at=format_timestamp(mark.kept_moment(name)),
        by=reason,
        oid=oid_of(connection, name),
        system=system_identifier(connection),
        live_oid=oid_of(connection, database),
        **written.stamp(connection),
    ).written()


def rows_comment(
    connection: psycopg.Connection,
    database: str,
    name: str,
    reason: str = "",
    seen: Mapping[str, object] | None = None,
) -> str:
    """The mark of the database ``name``, which holds rows of tables of ``database``.

    :param reason: what has changed the rows; empty as long as it is not complete, and a leftover.
    :param seen: what ``written`` has stamped and counted.
    """
    return mark.make(
        mark.ROWS,
        database,
        None,
        replaced_at=format_timestamp(mark.kept_moment(name, mark.ROWS)),
        by=reason,
        oid=oid_of(connection, name),
        system=system_identifier(connection),
        live_oid=oid_of(connection, database),
        **({} if reason else {_BEGUN: "yes"}),
        **(seen or {}),
    ).written()


def count_in(settings: Settings, database: str, name: str) -> None:
    """Complete the mark of the kept database ``name``, which has just been replaced, once nothing
    is sent to it any more. Where that does not work, the first look of a prune does it.
    """
    with contextlib.suppress(DatabaseError), connect_maintenance(settings, database) as connection:
        there = choose(connection, settings, database, name)
        stopped = subscriptions.switch_off(settings, name)
        if stopped:
            there = dataclasses.replace(there, mark=there.mark.changed(**{_STOPPED: stopped}))
            remember(connection, there)
        counted = written.count(settings, name)
        remember(connection, dataclasses.replace(there, mark=there.mark.changed(**counted)))


def count_out(settings: Settings, there: KeptDatabase, database: str) -> None:
    """What was kept is live again, under the name ``database``: what :func:`count_in` stopped in it
    goes on.

    :raises DatabaseError: it does not; the database is live all the same.
    """
    subscriptions.switch_on(settings, database, there.mark.texts(_STOPPED))


def look_at(
    connection: psycopg.Connection,
    settings: Settings,
    there: K,
    newest_good: datetime | None,
) -> K:
    """A kept database as it is after one more look of a prune (``mark.looked_at``), by the server's
    clock; :func:`remember` writes it down.

    One that version 0.1.0 has kept is stamped at the first look, and judged by that from then on.
    """
    seen = mark.looked_at(there.mark, newest_good, server_now(connection))
    if not written.is_stamped(seen):
        seen = seen.changed(
            oid=there.oid, system=system_identifier(connection), **written.stamp(connection)
        )
    if not written.is_counted(seen):
        with contextlib.suppress(DatabaseError):  # who cannot look into it will not drop it either
            seen = seen.changed(**written.count(settings, there.name))
    return dataclasses.replace(there, mark=seen)


def remember(connection: psycopg.Connection, there: KeptDatabase) -> None:
    """Write a kept database's mark down."""
    comment_on(connection, there.name, there.mark.written())


@dataclasses.dataclass(frozen=True)
class Commented:
    """A database whose comment may be a mark."""

    name: str
    oid: int
    comment: str


_COMMENTED = """
SELECT d.datname AS name, d.oid::bigint AS oid, c.comment
FROM pg_database d, LATERAL (SELECT shobj_description(d.oid, 'pg_database')) AS c(comment)
WHERE c.comment LIKE '{%%' AND d.datname <> %s"""
_SIZES = """
SELECT d.oid::bigint AS oid,
       CASE WHEN has_database_privilege(d.oid, 'CONNECT')
                 OR pg_has_role('pg_read_all_stats', 'USAGE')
            THEN pg_database_size(d.oid) END AS bytes
FROM pg_database d WHERE d.oid = ANY(%s)"""


@dataclasses.dataclass(frozen=True)
class _Size:
    oid: int
    bytes: int | None


def sizes(connection: psycopg.Connection, oids: Sequence[int]) -> Mapping[int, int | None]:
    """Bytes of databases, whose files the server looks at one by one; None where we may not
    know.
    """
    if not oids:
        return {}
    return {one.oid: one.bytes for one in rows(connection, _Size, _SIZES, (list(oids),))}


def marked(
    connection: psycopg.Connection, database: str, kinds: Collection[str], ours: bool = True
) -> list[tuple[Commented, Mark]]:
    """The databases that carry a mark of one of those kinds and of ``database``, and the mark.

    :param ours: those that we made and nobody renamed; False: all others.
    """
    commented = rows(connection, Commented, _COMMENTED, (database,))
    read = [(there, found) for there in commented if (found := mark.read(there.comment))]
    its = [pair for pair in read if pair[1].kind in kinds and pair[1].database == database]
    if not its:
        return []
    system = system_identifier(connection)
    return [(one, its_) for one, its_ in its if its_.fits(one.name, one.oid, system) == ours]


def kept(connection: psycopg.Connection, database: str) -> list[KeptDatabase]:
    """The databases that restores have replaced, and those with rows that they have changed, newest
    first.
    """
    found = [
        (row, its, moment)
        for row, its in marked(connection, database, (mark.KEPT, mark.ROWS))
        if (moment := its.replaced_at) and not its.text(_BEGUN)
    ]
    size = sizes(connection, [row.oid for row, _, _ in found])
    there = [
        KeptDatabase(row.name, row.oid, moment, its.text("by"), size.get(row.oid), its.comment, its)
        for row, its, moment in found
    ]
    return sorted(there, key=lambda other: (other.replaced_at, other.name), reverse=True)


def _sides(connection: psycopg.Connection, database: str) -> list[SideDatabase]:
    return [
        SideDatabase(row.name, found.text("backup"), found.comment, found.text(_ERRAND) == _DRILL)
        for row, found in marked(connection, database, (mark.SIDE,))
    ]


def leftovers(connection: psycopg.Connection, database: str, drill: bool = False) -> list[str]:
    """Side databases of restores and drills that died; only whoever holds the lock may call them
    that. They say so in their comment, or were never more than begun: closed, without a comment,
    and called as none but we call one.

    :param drill: only those of drills, for whoever holds but the lock of these.
    """
    if drill:
        return [side.name for side in _sides(connection, database) if side.drill]
    begun = values(
        connection,
        str,
        """
        SELECT datname FROM pg_database
        WHERE NOT datallowconn AND shobj_description(oid, 'pg_database') IS NULL
          AND datname LIKE '%\\_restore\\_%'""",
    )
    rows_begun = [
        there.name
        for there, found in marked(connection, database, (mark.ROWS,))
        if found.text(_BEGUN)
    ]
    return [
        *(side.name for side in _sides(connection, database)),
        *(name for name in begun if mark.is_side_name(name, database)),
        *rows_begun,
    ]


def side(connection: psycopg.Connection, database: str, name: str) -> SideDatabase:
    """The side database of that name.

    :raises UsageError: there is none.
    """
    for there in _sides(connection, database):
        if there.name == name and not there.drill:
            return there
    raise UsageError(
        f"There is no side database {name} of {database} to swap in",
        "Another restore has removed it, or it is live already: begin anew",
    )


def choose(
    connection: psycopg.Connection, settings: Settings, database: str, wanted: str = ""
) -> KeptDatabase:
    """The kept database of that name, or the newest.

    :raises UsageError: there is none.
    """
    newest_first = kept(connection, database)
    if not newest_first:
        raise UsageError(
            f"Nothing to undo: no replaced database of {database} is kept on {settings.db_host}",
            "postgres-backup list shows the backups",
        )
    if not wanted:
        return newest_first[0]
    for there in newest_first:
        if there.name == wanted:
            return there
    raise UsageError(
        f"No replaced database {wanted!r} is kept",
        "The nearest: " + ", ".join(nearest(wanted, [there.name for there in newest_first])),
    )
