"""Databases beside the live one: the side database that a restore fills, and those that a restore
has replaced.

A replaced database is called ``<name>_before_<time>``. What it is stands in its comment as JSON,
because a name alone, cut to 63 bytes, does not always say whose it is.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import psycopg

from ..clock import format_time, format_timestamp, parse_time, parse_timestamp
from ..errors import UsageError
from ..settings import Settings
from ..text import nearest
from .databases import shorten

_MARK = "postgres-backup"
_KEPT, _SIDE = "replaced", "being restored"
_KEPT_TAIL, _SIDE_TAIL = "_before_", "_restore_"


def side_name(connection: psycopg.Connection, database: str, moment: datetime) -> str:
    """``<name>_restore_<time>``; where that is taken, of the next free second."""
    return _free(connection, database, _SIDE_TAIL, moment)


def kept_name(connection: psycopg.Connection, database: str, moment: datetime) -> str:
    """``<name>_before_<time>``, of a second after every other that is kept (two swaps within a
    second, a clock that went back): the newest is what an
    undo brings back, so which one that is must never be in doubt."""
    latest = max((row["replaced_at"] for row in kept(connection, database)), default="")
    return _free(
        connection,
        database,
        _KEPT_TAIL,
        max(moment, parse_timestamp(latest) + timedelta(seconds=1)) if latest else moment,
    )


def _free(connection: psycopg.Connection, database: str, tail: str, moment: datetime) -> str:
    while True:
        name = shorten(database, tail + format_time(moment))
        if (
            connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
            is None
        ):
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


def _marked(connection: psycopg.Connection, database: str, mark: str) -> list[dict]:
    rows = connection.execute(
        """SELECT d.datname AS name, c.comment,
                  CASE WHEN has_database_privilege(d.oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE') THEN pg_database_size(d.oid) END AS bytes
           FROM pg_database d, LATERAL (SELECT shobj_description(d.oid, 'pg_database')) AS c(comment)
           WHERE c.comment LIKE '{%%' AND d.datname <> %s""",
        (database,),
    ).fetchall()
    found = []
    for row in rows:
        try:
            facts = json.loads(row["comment"])
        except ValueError:  # somebody else's comment that begins with a brace
            continue
        if (
            facts.get(_MARK) == mark
            and facts.get("database") == database
            and (mark == _SIDE or _is_timestamp(facts.get("replaced_at")))
        ):
            found.append({"comment": None} | facts | {"name": row["name"], "bytes": row["bytes"]})
    return found


def _is_timestamp(text: object) -> bool:
    try:
        return isinstance(text, str) and format_timestamp(parse_timestamp(text)) == text
    except ValueError:
        return False


def kept(connection: psycopg.Connection, database: str) -> list[dict]:
    """The databases that restores have replaced, newest first: ``name replaced_at by bytes
    comment``.
    """
    return sorted(
        _marked(connection, database, _KEPT),
        key=lambda row: (row["replaced_at"], row["name"]),
        reverse=True,
    )


def leftovers(connection: psycopg.Connection, database: str) -> list[str]:
    """Side databases of restores that died; only whoever holds the lock may call them that.

    They say so in their comment, or were never more than begun: closed, without a comment, and
    called as none but we call one.
    """
    begun = connection.execute(
        "SELECT datname AS name FROM pg_database WHERE NOT datallowconn AND shobj_description(oid, 'pg_database') IS NULL AND datname LIKE '%\\_restore\\_%'"
    ).fetchall()
    return [row["name"] for row in _marked(connection, database, _SIDE)] + [
        row["name"] for row in begun if _is_side_name(row["name"], database)
    ]


def _is_side_name(name: str, database: str) -> bool:
    time = name.rpartition(_SIDE_TAIL)[2]
    try:
        parse_time(time)
    except ValueError:  # no time
        return False
    return name == shorten(database, _SIDE_TAIL + time)


def side(connection: psycopg.Connection, database: str, name: str) -> dict:
    """What the side database of that name is: ``backup``, ``comment``.

    :raises UsageError: there is none.
    """
    for row in _marked(connection, database, _SIDE):
        if row["name"] == name:
            return row
    raise UsageError(
        f"There is no side database {name} of {database} to swap in",
        "Another restore has removed it, or it is live already: begin anew",
    )


def choose(
    connection: psycopg.Connection, settings: Settings, database: str, wanted: str = ""
) -> dict:
    """The replaced database of that name, or the newest.

    :raises UsageError: there is none.
    """
    found = kept(connection, database)
    if not found:
        raise UsageError(
            f"Nothing to undo: no replaced database of {database} is kept on {settings.db_host}",
            "postgres-backup list shows the backups",
        )
    if not wanted:
        return found[0]
    for row in found:
        if row["name"] == wanted:
            return row
    raise UsageError(
        f"No replaced database {wanted!r} is kept",
        "The nearest: " + ", ".join(nearest(wanted, [row["name"] for row in found])),
    )
