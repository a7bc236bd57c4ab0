"""How much room a restore takes on the database server, as far as it can be reckoned beforehand."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg

from ..catalog.backups import Backup
from ..catalog.manifest import Manifest
from ..errors import DatabaseError
from ..findings import Finding, finding
from ..job import Job
from ..postgresql.chosen import identifiers, meant
from ..postgresql.connection import connect, own_search_path
from ..text import human_bytes
from .objections import Objections

#: room asked for beyond the size the database had: indexes are built through temporary files
SPARE = 1.2
#: how much larger than its object a database is reckoned where nobody noted its size
_UNPACKED = 5
#: the rows of chosen tables lie in the side database, beside the live table to be compared, and,
#: where all of them differ, once more as they were
_COPIES = 3
#: an empty database, and the definitions
_EMPTY = 16 * 1024 * 1024
_IN_PLACE = (
    "Make room, or restore in place, in one transaction: "
    "backup_restore_in_place: true (postgres-backup restore --in-place)"
)


def whole_bytes(backup: Backup) -> int:
    """For a second copy of the database."""
    known = backup.manifest
    size = known.get("database_bytes") if known else None
    return int((size or backup.bytes * _UNPACKED) * SPARE)


def chosen_bytes(job: Job, backup: Backup, tables: Sequence[str]) -> int:
    """For no more than chosen tables of it take; as much as for the whole where nobody knows how
    large they are.

    :param tables: as in SQL.
    """
    known, whole = backup.manifest, whole_bytes(backup)
    total = sum(record["bytes"] for record in known["tables"].values()) if known else 0
    if not known or not total:
        return whole
    found: set[str] = set()
    with connect(job.settings, job.database) as live:
        own_search_path(live)
        for table in tables:
            of_it = _records_of(live, known, table)
            if not of_it:
                return whole
            found |= of_it
    share = sum(known["tables"][name]["bytes"] for name in found) / total
    return min(whole, int(_EMPTY + whole * share * _COPIES))


def _records_of(live: psycopg.Connection, known: Manifest, table: str) -> set[str]:
    """The tables of a backup that hold the rows of this one: partitions are told by the live
    database.
    """
    names = {identifiers(table), *meant(live, table)}
    return {
        name
        for name in known["tables"]
        if (parts := identifiers(name)) in names or parts[-1:] in names
    }


def object_by_room(
    needed: int, free: int | None, objections: Objections, of_tables: bool = False
) -> list[Finding]:
    """An objection where there is too little.

    :param of_tables: it is for chosen tables.
    """
    if free is None:
        return [
            finding("DISK_NOT_CHECKED", "nobody could say how much room the database server has")
        ]
    if free < needed:
        said = f"{human_bytes(needed)} needed, {human_bytes(free)} free"
        where = "on the database server"
        if of_tables:
            message = f"There is no room for what these tables take: {said} {where}"
            way_out = "Make room, then type the same again"
        else:
            message = f"There is no room for a second copy: {said} {where}"
            way_out = _IN_PLACE
        objections.add("DISK_SHORT", message, way_out, said)
    return []


def require_room(needed: int, free: int | None, why: str) -> None:
    """See that there is room for more than was asked for at first.

    :param why: more is to be loaded.
    :raises DatabaseError: there is too little.
    """
    if free is not None and free < needed:
        told = f"{human_bytes(needed)} needed, {human_bytes(free)} free"
        raise DatabaseError(
            f"There is no room to go on ({why}): {told} on the database server",
            "Make room, then type the same again; the live database is untouched",
            [finding("DISK_SHORT", told)],
        )
