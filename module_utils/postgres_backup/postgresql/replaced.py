"""Side databases, which restores fill, and kept databases, which restores have replaced.

A kept database is called ``<name>_before_<time>``, a side database ``<name>_restore_<time>``. What
each is stands in its comment as JSON, because a name alone, cut to 63 bytes, does not always say
whose it is.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import datetime, timedelta

import psycopg

from ..clock import format_time, format_timestamp, parse_time, parse_timestamp
from ..errors import UsageError
from ..settings import Settings
from ..text import nearest
from .connection import rows, values
from .databases import shorten

_MARK = "postgres-backup"
_KEPT, _SIDE = "replaced", "being restored"
_KEPT_TAIL, _SIDE_TAIL = "_before_", "_restore_"


@dataclasses.dataclass(frozen=True)
class KeptDatabase:
    """A database that a restore, or an undo, has replaced.

    :param by: what replaced it.
    :param bytes: its size; None where we may not know.
    :param comment: its own, from when it was live.
    """

    name: str
    replaced_at: datetime
    by: str
    bytes: int | None
    comment: str | None


@dataclasses.dataclass(frozen=True)
class SideDatabase:
    """A database that is being restored.

    :param backup: the backup that is loaded into it.
    :param comment: what it gets for its own once it is live.
    """

    name: str
    backup: str
    comment: str | None


def side_name(connection: psycopg.Connection, database: str, moment: datetime) -> str:
    """``<name>_restore_<time>``; where that is taken, of the next free second."""
    return _free(connection, database, _SIDE_TAIL, moment)


def kept_name(connection: psycopg.Connection, database: str, moment: datetime) -> str:
    """``<name>_before_<time>``, of a second after every other that is kept (two swaps within a
    second, a clock that went back): the newest is what an undo brings back, so which one that is
    must never be in doubt.
    """
    after = [other.replaced_at + timedelta(seconds=1) for other in kept(connection, database)]
    return _free(connection, database, _KEPT_TAIL, max([moment, *after]))


def _free(connection: psycopg.Connection, database: str, tail: str, moment: datetime) -> str:
    while True:
        name = shorten(database, tail + format_time(moment))
        if not values(connection, int, "SELECT 1 FROM pg_database WHERE datname = %s", (name,)):
            return name
        moment += timedelta(seconds=1)


def side_comment(database: str, backup: str, comment: str | None = None) -> str:
    """``comment`` is what the database gets for its own once it is swapped in."""
    return json.dumps(
        {_MARK: _SIDE, "database": database, "backup": backup, "comment": comment},
        ensure_ascii=False,
    )


def kept_comment(database: str, name: str, reason: str, comment: str | None) -> str:
    """``name`` is what :func:`kept_name` found; ``comment`` is the live database's own, which comes
    back with it.
    """
    replaced_at = format_timestamp(parse_time(name.rpartition(_KEPT_TAIL)[2]))
    return json.dumps(
        {
            _MARK: _KEPT,
            "database": database,
            "replaced_at": replaced_at,
            "by": reason,
            "comment": comment,
        },
        ensure_ascii=False,
    )


@dataclasses.dataclass(frozen=True)
class _Commented:
    name: str
    comment: str
    bytes: int | None


_COMMENTED = """
SELECT d.datname AS name, c.comment,
       CASE WHEN has_database_privilege(d.oid, 'CONNECT')
                 OR pg_has_role('pg_read_all_stats', 'USAGE')
            THEN pg_database_size(d.oid) END AS bytes
FROM pg_database d, LATERAL (SELECT shobj_description(d.oid, 'pg_database')) AS c(comment)
WHERE c.comment LIKE '{%%' AND d.datname <> %s"""


def _marked(
    connection: psycopg.Connection, database: str, mark: str
) -> Iterator[tuple[_Commented, dict[str, object]]]:
    """The databases whose comment is ours, says ``mark`` and names ``database``, and what else it
    says.
    """
    for row in rows(connection, _Commented, _COMMENTED, (database,)):
        try:
            said = json.loads(row.comment)
        except ValueError:  # somebody else's comment that begins with a brace
            continue
        if said.get(_MARK) == mark and said.get("database") == database:
            yield row, said


def _text(said: object) -> str | None:
    return said if isinstance(said, str) else None


def _moment(said: object) -> datetime | None:
    try:
        moment = parse_timestamp(said) if isinstance(said, str) else None
    except ValueError:
        return None
    return moment if moment and format_timestamp(moment) == said else None


def kept(connection: psycopg.Connection, database: str) -> list[KeptDatabase]:
    """The databases that restores have replaced, newest first."""
    there = [
        KeptDatabase(
            row.name, moment, _text(said.get("by")) or "", row.bytes, _text(said.get("comment"))
        )
        for row, said in _marked(connection, database, _KEPT)
        if (moment := _moment(said.get("replaced_at")))
    ]
    return sorted(there, key=lambda other: (other.replaced_at, other.name), reverse=True)


def _sides(connection: psycopg.Connection, database: str) -> list[SideDatabase]:
    return [
        SideDatabase(row.name, _text(said.get("backup")) or "", _text(said.get("comment")))
        for row, said in _marked(connection, database, _SIDE)
    ]


def leftovers(connection: psycopg.Connection, database: str) -> list[str]:
    """Side databases of restores that died; only whoever holds the lock may call them that.

    They say so in their comment, or were never more than begun: closed, without a comment, and
    called as none but we call one.
    """
    begun = values(
        connection,
        str,
        """
        SELECT datname FROM pg_database
        WHERE NOT datallowconn AND shobj_description(oid, 'pg_database') IS NULL
          AND datname LIKE '%\\_restore\\_%'""",
    )
    return [side.name for side in _sides(connection, database)] + [
        name for name in begun if _is_side_name(name, database)
    ]


def _is_side_name(name: str, database: str) -> bool:
    time = name.rpartition(_SIDE_TAIL)[2]
    try:
        parse_time(time)
    except ValueError:  # no time
        return False
    return name == shorten(database, _SIDE_TAIL + time)


def side(connection: psycopg.Connection, database: str, name: str) -> SideDatabase:
    """The side database of that name.

    :raises UsageError: there is none.
    """
    for there in _sides(connection, database):
        if there.name == name:
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
