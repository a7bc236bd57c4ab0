"""The tables that somebody names, and what can be said against them by definitions alone: before
any row of the backup is loaded, which may take hours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

import psycopg

from ..catalog.backups import Backup
from ..catalog.manifest import TableRecord
from ..job import Job
from ..postgresql.chosen import identifiers
from ..postgresql.connection import connect, own_search_path
from .partitions import covered, require_partitions, require_table_of
from .plan import Plan
from .row_security import require_every_row
from .table import Table, look
from .table_names import named, not_there

_WORD = r'(?:[a-z_][a-z0-9_$]*|"[ !#-~]+")'
#: what PostgreSQL reads as this program does, whatever the database's encoding and locale
_PLAIN_NAME = re.compile(rf"(?:{_WORD}\.)?{_WORD}", re.IGNORECASE | re.ASCII)


def tables_meant(
    side: psycopg.Connection, live: psycopg.Connection, backup: Backup, wanted: Sequence[str]
) -> list[Table]:
    """Each of them, but for partitions that come back with a table which is named too.

    :param side: holds the definitions of the backup.
    :raises UsageError: not a table of the backup, no table any more, or one that cannot take the
        backup's rows.
    """
    meant = [named(side, name, f"{backup.name}") for name in wanted]
    tables = [
        look(side, live, backup, number, name)
        for number, (name, table) in enumerate(zip(wanted, meant, strict=True))
        if not covered(side, live, table, meant)
    ]
    for table in tables:
        require_table_of(side, table)
    return tables


def require_names(backup: Backup, wanted: Sequence[str]) -> None:
    """See that these are tables of a backup, as far as its manifest knows all of them.

    :raises UsageError: one is not.
    """
    known = backup.manifest
    if not known or "rowless" not in known:
        return
    names = [*known["tables"], *known["rowless"]]
    there = {identifiers(name) for name in names}
    there |= {name[-1:] for name in there}
    for name in wanted:
        if _PLAIN_NAME.fullmatch(name) and identifiers(name) not in there:
            raise not_there(name, f"{backup.name}", names)


def first_look(job: Job, plan: Plan, wanted: Sequence[str]) -> Callable[[psycopg.Connection], None]:
    """What is asked of a side database that has the definitions, and no rows yet. The same is asked
    again, under locks, when the rows are there.
    """

    def require_possible(side: psycopg.Connection) -> None:
        manifest = plan.backup.manifest
        records = manifest["tables"] if manifest else {}
        with connect(job.settings, plan.database, "REPEATABLE_READ") as live:
            own_search_path(live)
            look_at_definitions(side, live, plan.backup, wanted, records)
            live.rollback()

    return require_possible


def look_at_definitions(
    side: psycopg.Connection,
    live: psycopg.Connection,
    backup: Backup,
    wanted: Sequence[str],
    records: Mapping[str, TableRecord],
) -> None:
    """The questions themselves.

    :param live: in a transaction that is rolled back afterwards.
    :param records: the rows of each table of the backup; empty where nobody knows.
    :raises UsageError: it will not be possible.
    """
    tables = tables_meant(side, live, backup, wanted)
    require_every_row(live, tables)
    for table in tables:
        if table.live_oid is not None:
            require_partitions(side, live, table, records)
