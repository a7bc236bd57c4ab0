"""Give this moment a name, to recover to: before a migration, say."""

from __future__ import annotations

import re
from typing import Annotated, TypedDict

from ..clock import format_timestamp, utc_now
from ..errors import UsageError
from ..findings import Finding
from ..machine import state
from ..postgresql.connection import connect
from ..settings import Settings
from ..shapes.kinds import Moment, Text
from . import cluster as clusters

#: PostgreSQL cuts off what is longer than 63 letters; these need no quotes anywhere
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
#: seconds in which what was written until then should be archived
_PATIENCE = 60


class _Mark(TypedDict):
    at: Annotated[str, Moment()]
    lsn: Annotated[str, Text(32, r"[0-9A-F]{1,8}/[0-9A-F]{1,8}")]


class Marked(TypedDict):
    """:ivar lsn: the position in PostgreSQL's log; empty in check mode, as ``at`` is.
    :ivar archived: whether all until then is in the bucket by now.
    """

    changed: bool
    mark: str
    at: str
    lsn: str
    archived: bool
    findings: list[Finding]


#: by their names
MARKS = state.Kept("marks.json", dict[str, _Mark])


def mark(settings: Settings, name: str, check: bool) -> Marked:
    """Make a restore point of that name, and see that it is archived.

    :param check: make none.
    :raises UsageError: the name is none, or is taken; or nothing is archived.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"A mark cannot be called {name[:80]!r}",
            "1 to 63 letters, digits, dots, hyphens and underscores: mark=before-migration-42",
        )
    found = clusters.ask(settings)
    if not found.archives:
        raise UsageError(
            f"Nothing is archived yet, so nobody could recover to {name}: archive_mode is off",
            clusters.begins(settings, found),
        )
    if earlier := state.read(settings, MARKS).get(name):
        raise UsageError(
            f"There is a mark {name} already, of {earlier['at']}",
            "Take another name: recovery ends at the first of that name",
        )
    if check:
        return Marked(changed=True, mark=name, at="", lsn="", archived=False, findings=[])
    return _make(settings, name)


def _make(settings: Settings, name: str) -> Marked:
    findings: list[Finding] = []
    at = format_timestamp(utc_now())
    with connect(settings, "postgres") as connection:
        [lsn] = connection.execute(
            "SELECT pg_catalog.pg_create_restore_point(%s)::text", (name,)
        ).fetchone() or ("",)
        [piece] = connection.execute(
            "SELECT pg_catalog.pg_walfile_name(%s::pg_lsn) FROM pg_catalog.pg_switch_wal()", (lsn,)
        ).fetchone() or ("",)

        with state.changing(settings, MARKS, findings) as marks:
            marks[name] = {"at": at, "lsn": lsn}
        archived = clusters.await_archived(connection, piece, _PATIENCE)
    return Marked(changed=True, mark=name, at=at, lsn=lsn, archived=archived, findings=findings)


def lines(result: Marked, check: bool) -> list[str]:
    """What that says to a person."""
    if check:
        return [f"This moment would be marked as {result['mark']}"]
    told = f"{result['mark']} marks {result['at']}, at {result['lsn']} of PostgreSQL's log"
    if result["archived"]:
        return [f"{told}; it is in the bucket"]
    return [f"{told}; it is not in the bucket yet: postgres-backup status says why"]
