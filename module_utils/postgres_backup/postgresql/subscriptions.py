"""Subscriptions: they belong to a database and not to its name, apply what a publisher sends for as
long as they are on, and keep their database from being dropped.

Two copies of a database must never both apply changes. A dump brings its subscriptions back
switched off; those of a database that is replaced are switched off with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import psycopg
from psycopg import sql

from ..findings import Finding, finding
from ..settings import Settings
from .connection import connect, rows
from .slots import slots


@dataclasses.dataclass(frozen=True)
class Subscription:
    """A subscription of a database.

    :param enabled: it applies what the publisher sends.
    :param ours: we may change and drop it.
    """

    name: str
    enabled: bool
    ours: bool


# these columns are everybody's to read
_SUBSCRIPTIONS = """
SELECT s.subname::text AS name, s.subenabled AS enabled,
       pg_has_role(s.subowner, 'USAGE') AS ours
FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
WHERE d.datname = %s ORDER BY 1"""


def subscriptions(connection: psycopg.Connection, database: str) -> list[Subscription]:
    """The subscriptions of a database, by name."""
    return rows(connection, Subscription, _SUBSCRIPTIONS, (database,))


def forget(settings: Settings, connection: psycopg.Connection, database: str) -> None:
    """Take the subscriptions out of a copy that is about to be dropped, which they would keep from
    it. Their slots at the publisher stay: those are the live database's.

    :param connection: to the server; no database in particular.
    :raises DatabaseError: they are another's.
    """
    there = subscriptions(connection, database)
    if not there:
        return
    with connect(settings, database) as inside, inside.transaction():
        _silence(inside)
        for one in there:
            for statement in _without_slot(one.name):
                inside.execute(statement)


def _silence(inside: psycopg.Connection) -> None:
    """Event triggers of the application may forbid what we do, and are not asked. Those that fire
    always are, before PostgreSQL 17.
    """
    if inside.info.parameter_status("is_superuser") == "on":
        inside.execute("SET LOCAL session_replication_role TO replica")
        if inside.info.server_version >= 170000:
            inside.execute("SET LOCAL event_triggers TO off")


def _without_slot(name: str) -> list[sql.Composed]:
    """Drop a subscription, and ask no publisher for anything."""
    said = sql.Identifier(name)
    return [
        sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(said),
        sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(said),
        sql.SQL("DROP SUBSCRIPTION {}").format(said),
    ]


def typed_to_drop(connection: psycopg.Connection, name: str) -> str:
    """What a person types in its database to drop one."""
    return " ".join(f"{statement.as_string(connection)};" for statement in _without_slot(name))


def switch_off(settings: Settings, database: str) -> list[str]:
    """Stop those of a database that are on and ours.

    :return: their names, for :func:`switch_on`.
    """
    with connect(settings, database) as inside:
        stopped = [one.name for one in subscriptions(inside, database) if one.enabled and one.ours]
        with inside.transaction():
            _silence(inside)
            for name in stopped:
                inside.execute(
                    sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(sql.Identifier(name))
                )
    return stopped


def switch_on(settings: Settings, database: str, names: Sequence[str]) -> None:
    """Let those that :func:`switch_off` stopped go on where they were, if they are still there."""
    if not names:
        return
    with connect(settings, database) as inside:
        there = {one.name for one in subscriptions(inside, database)}
        with inside.transaction():
            _silence(inside)
            for name in names:
                if name in there:
                    inside.execute(
                        sql.SQL("ALTER SUBSCRIPTION {} ENABLE").format(sql.Identifier(name))
                    )


def replaced_with(
    connection: psycopg.Connection, database: str, back: bool = False
) -> list[Finding]:
    """REPLICATION_LEFT for each subscription that stays with the live database when that is
    replaced: what becomes of it.

    :param back: by a database that was live before and has its own: those that are off do not
        matter.
    """
    return [
        finding("REPLICATION_LEFT", _replaced(connection, one, database, back), database=database)
        for one in subscriptions(connection, database)
        if one.enabled or not back
    ]


def _replaced(connection: psycopg.Connection, one: Subscription, database: str, back: bool) -> str:
    stays = f"the subscription {one.name} stays with the database that is replaced"
    anew = (
        f". {database} gets nothing of the publisher until it subscribes anew and copies "
        f"everything: in {database}: {typed_to_drop(connection, one.name)} then empty its tables "
        "and CREATE SUBSCRIPTION"
    )
    anew = "" if back else anew
    if not one.enabled:
        return f"{stays}, switched off as it is{anew}"
    if one.ours:
        return (
            f"{stays}, and is switched off there, so that nothing is written to it any more "
            f"(an undo switches it on again, and misses nothing){anew}"
        )
    statement = sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(sql.Identifier(one.name))
    return (
        f"{stays} and goes on writing there, for it is another role's: after the swap, as a "
        f"superuser, in the kept database: {statement.as_string(connection)}{anew}"
    )


def emptied_with(connection: psycopg.Connection, database: str) -> list[Finding]:
    """REPLICATION_LEFT for each slot and each subscription of a database that is restored in
    place.
    """
    found = []
    for one in subscriptions(connection, database):
        if one.ours:
            found.append(
                f"the subscription {one.name} is dropped with all that is in {database}, and comes "
                "back as the backup has it, switched off; its slot at the publisher stays and "
                "keeps WAL there. What was sent since the backup is not in it: copy everything anew"
            )
        else:
            found.append(
                f"the subscription {one.name} is another role's: it stays, and goes on writing "
                f"to {database}, from where it is now. What was sent since the backup is missing"
            )
    found += [
        f"the consumer of the logical replication slot {slot.name} is sent every row of the backup "
        "as a new one: stop it before, and let it copy everything anew"
        for slot in slots(connection, database)
    ]
    return [finding("REPLICATION_LEFT", message, database=database) for message in found]


def as_dumped(names: Sequence[str], database: str) -> list[Finding]:
    """SUBSCRIPTION_OFF where a backup holds subscriptions."""
    if not names:
        return []
    some = ", ".join(names[:10])
    return [
        finding(
            "SUBSCRIPTION_OFF",
            f"{database} gets back the subscriptions of the backup ({some}) switched off: only one "
            "copy of a database may take what a publisher sends. Where no other one does, and "
            "rows sent since the backup may be missing: ALTER SUBSCRIPTION ... ENABLE; else copy "
            "everything anew",
            database=database,
        )
    ]
