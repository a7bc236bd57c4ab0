"""Logical replication of a database: its slots (and subscriptions, see :mod:`.subscriptions`) go
with the database, not with its name, so after a swap they are with the one that is kept.
"""

from __future__ import annotations

import dataclasses

import psycopg
from psycopg import sql

from ..findings import Finding, finding
from .connection import rows


@dataclasses.dataclass(frozen=True)
class Slot:
    """A logical replication slot.

    :param active: its consumer is connected.
    :param held_bytes: of WAL that the server keeps for it; None where nobody can say.
    """

    name: str
    plugin: str
    active: bool
    held_bytes: int | None


_SLOTS = """
SELECT slot_name AS name, plugin, active,
       CASE WHEN pg_is_in_recovery() THEN NULL
            ELSE pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint END AS held_bytes
FROM pg_replication_slots WHERE slot_type = 'logical' AND database = %s ORDER BY 1"""


def slots(connection: psycopg.Connection, database: str) -> list[Slot]:
    """The logical replication slots of a database, by name."""
    return rows(connection, Slot, _SLOTS, (database,))


def left_behind(connection: psycopg.Connection, database: str) -> list[Finding]:
    """REPLICATION_LEFT for each slot that stays with the live database when that is replaced:
    nothing of it comes to the one that takes its place.
    """
    found = []
    for slot in slots(connection, database):
        name, plugin = _literal(connection, slot.name), _literal(connection, slot.plugin)
        found.append(
            f"the logical replication slot {slot.name} stays with the database that is replaced: "
            f"its consumer gets nothing of {database} any more, and the server keeps WAL for it. "
            f"After the swap: SELECT pg_drop_replication_slot({name}); then, in {database}, "
            f"SELECT pg_create_logical_replication_slot({name}, {plugin}); and let the consumer "
            "copy everything anew"
        )
    return [finding("REPLICATION_LEFT", message, database=database) for message in found]


def _literal(connection: psycopg.Connection, text: str) -> str:
    return sql.Literal(text).as_string(connection)
