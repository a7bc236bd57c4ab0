"""Copies of backups beside the live database, each under a name that somebody has chosen for it, to
look before one leaps. Like a kept database it carries a mark (``mark``), by which the prune knows
that it is ours to drop, and when.
"""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta

import psycopg

from ..clock import format_timestamp
from ..errors import UsageError
from ..settings import Settings
from ..text import printable
from . import mark, written
from .connection import MAINTENANCE_DATABASES
from .facts import system_identifier
from .replaced import KeptDatabase, marked, oid_of, server_now, sizes

#: for so many days at most
MOST_DAYS = 36_500
#: names of PostgreSQL's own
_RESERVED = ("template0", *MAINTENANCE_DATABASES)


@dataclasses.dataclass(frozen=True)
class CopiedDatabase(KeptDatabase):
    """A copy; ``replaced_at`` is when it was made, ``by`` the backup that it is a copy of.

    :param days: for how many it stays.
    """

    days: int = 0

    @property
    def until(self) -> datetime:
        """When the prune may drop it."""
        return self.replaced_at + timedelta(days=self.days)


def copies(connection: psycopg.Connection, database: str) -> list[CopiedDatabase]:
    """The copies of backups of ``database``, newest first."""
    there = []
    found = marked(connection, database, (mark.COPY,))
    size = sizes(connection, [row.oid for row, _ in found])
    for row, its in found:
        made_at, days = its.moment("made_at"), its.number("days")
        # what says less than we write is not known to be ours
        if made_at is None or days is None or not 0 <= days <= MOST_DAYS:
            continue
        said = (its.text("backup"), size.get(row.oid), its.comment, its)
        there.append(CopiedDatabase(row.name, row.oid, made_at, *said, days=days))
    return sorted(there, key=lambda copy: (copy.replaced_at, copy.name), reverse=True)


def copy_comment(
    connection: psycopg.Connection,
    name: str,
    database: str,
    backup: str,
    days: int,
    comment: str | None,
) -> str:
    """The mark of the copy ``name``, made while nobody can be in it: what is written to it from now
    on shows (``written``).

    :param comment: the database's own, as the backup has it.
    """
    return mark.make(
        mark.COPY,
        database,
        comment,
        name=name,
        backup=backup,
        made_at=format_timestamp(server_now(connection)),
        days=days,
        oid=oid_of(connection, name),
        system=system_identifier(connection),
        **written.stamp(connection),
    ).written()


def require_name(settings: Settings, name: str) -> None:
    """Whether a copy may be called so, as far as can be told without the server.

    :raises UsageError: it is none of those names.
    """
    told = repr(printable(name[:80]))
    hint = "Choose another name: restore FILE --as NAME (Ansible: -e copy_as=NAME)"
    # programs read a name with these as words on how to connect, or as an option
    unsafe = "=" in name or "://" in name or name[:1] in ("", "-") or name != name.strip()
    if unsafe or printable(name) != name:
        raise UsageError(f"{told} is no name for a copy: it is not safe to type", hint)
    if len(name.encode()) > mark.MAX_IDENTIFIER:
        longest = mark.MAX_IDENTIFIER
        raise UsageError(f"{told} is no name for a copy: longer than {longest} bytes", hint)
    if name in (*_RESERVED, *settings.databases, settings.db_maintenance):
        raise UsageError(f"{told} is no name for a copy: it is taken for good", hint)
    if mark.is_name_of_ours(name):
        raise UsageError(
            f"{told} is no name for a copy: databases that restores fill or keep are called so",
            hint,
        )


def require_free(connection: psycopg.Connection, name: str) -> None:
    """:raises UsageError: there is a database of that name."""
    if oid_of(connection, name) is not None:
        raise UsageError(
            f"There is a database {name}, and a copy takes nobody's place",
            "Choose another name: restore FILE --as NAME (Ansible: -e copy_as=NAME)",
        )
