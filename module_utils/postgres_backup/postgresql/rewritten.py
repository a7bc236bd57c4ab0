"""Tables whose rows a snapshot does not show, because they were written anew after it was taken;
and those that it shows, and that are gone since.

TRUNCATE and those forms of ALTER TABLE that rewrite a table are not bound to snapshots
(PostgreSQL's documentation, "Caveats" of its chapter on concurrency): whoever committed one, and
new rows with it, between our snapshot and the moment when pg_dump had its lock on the table, has
made a table that looks empty to the dump. Each of them gives the table another file, which the
catalogue tells: the one of the snapshot against the one of now.
"""

from __future__ import annotations

import dataclasses

import psycopg

from ..errors import DatabaseError
from ..settings import Settings
from .connection import connect, rows
from .pg_dump import VanishedError

_FILES = """
SELECT c.oid::bigint AS table, format('%I.%I', n.nspname, c.relname) AS name,
       CASE WHEN getdatabaseencoding() IN ('SQL_ASCII', 'EUC_TW', 'MULE_INTERNAL')
            THEN convert_to(format('%I.%I', n.nspname, c.relname), getdatabaseencoding())
       END AS raw,
       c.relfilenode::bigint AS file
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""


@dataclasses.dataclass(frozen=True)
class _File:
    table: int
    name: str
    raw: bytes | None
    file: int

    @property
    def as_dumped(self) -> str:
        """Its name as the inspector reads it in a dump; Python lacks some encodings."""
        return self.name if self.raw is None else self.raw.decode(errors="backslashreplace")


def rewritten_since(
    snapshot: psycopg.Connection, settings: Settings, database: str
) -> frozenset[str]:
    """The tables that have another file now than in a snapshot, by qualified name.

    Ask while somebody holds a lock on them: then a table that is not named here is as the snapshot
    shows it. VACUUM FULL and CLUSTER give a table a new file too, and lose no row of it: it is
    named all the same, for nobody can tell.

    :param snapshot: a connection that is inside the transaction of the snapshot.
    """
    before = {found.table: found for found in rows(snapshot, _File, _FILES)}
    with connect(settings, database) as now:
        after = {found.table: found.file for found in rows(now, _File, _FILES)}
    return frozenset(
        found.as_dumped
        for table, found in before.items()
        if after.get(table, found.file) != found.file
    )


def dropped_since(snapshot: psycopg.Connection, settings: Settings, database: str) -> list[str]:
    """The tables of a snapshot that are gone now, by qualified name: whatever language the server's
    messages are in, this says why a dump of the snapshot failed.

    :param snapshot: as for :func:`rewritten_since`.
    """
    before = {found.table: found for found in rows(snapshot, _File, _FILES)}
    with connect(settings, database) as now:
        after = {found.table for found in rows(now, _File, _FILES)}
    return sorted(found.as_dumped for table, found in before.items() if table not in after)


def why_it_failed(
    snapshot: psycopg.Connection, settings: Settings, database: str, error: DatabaseError
) -> DatabaseError:
    """Why a dump of a snapshot failed: where tables of it are gone, that is why.

    :param snapshot: as for :func:`rewritten_since`; may be closed by now.
    """
    if not snapshot.closed and not isinstance(error, VanishedError):
        gone = dropped_since(snapshot, settings, database)
        if gone:
            return VanishedError(f"{error.message} (dropped meanwhile: {', '.join(gone[:10])})")
    return error
