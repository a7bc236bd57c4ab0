"""The databases that restores have replaced, and the copies of backups, as ``status`` tells of
them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypedDict

from ..clock import format_timestamp
from ..errors import DatabaseError
from ..findings import Finding
from ..postgresql import adopted, copies, replaced, slots
from ..postgresql.connection import connect_maintenance
from ..settings import Settings
from ..text import human_bytes


class HeldSlot(TypedDict):
    """A logical replication slot that stayed with a kept database; ``held_bytes``: of WAL that the
    server keeps for it, None where nobody can say.
    """

    name: str
    active: bool
    held_bytes: int | None


class _Replaced(TypedDict):
    name: str
    replaced_at: str
    by: str
    bytes: int | None


class ReplacedDatabase(_Replaced, total=False):
    """A database that a restore replaced, and that is kept; ``bytes`` is None where we may not
    know.
    """

    #: version 0.1.0 does not tell
    slots: list[HeldSlot]
    #: only rows that a restore of tables has changed, and no whole database
    holds_rows: bool


class CopiedLine(TypedDict):
    """A copy of a backup under a name of its own; ``until``: when the prune may drop it."""

    name: str
    backup: str
    made_at: str
    until: str
    bytes: int | None


@dataclasses.dataclass(frozen=True)
class Beside:
    """What stands beside a live database."""

    replaced: list[ReplacedDatabase]
    copies: list[CopiedLine]


def look(settings: Settings, name: str, adopted_too: list[Finding]) -> Beside | DatabaseError:
    """What is kept of the database ``name``, or why the server could not be asked: the backups can
    be judged without it.

    :param adopted_too: gets a REPLACED_ADOPTED for each that somebody has made his own.
    """
    try:
        with connect_maintenance(settings, name, only_ask=True) as connection:
            adopted_too += adopted.adopted(connection, name)
            kept: list[ReplacedDatabase] = [
                {
                    "name": one.name,
                    "replaced_at": format_timestamp(one.replaced_at),
                    "by": one.by,
                    "bytes": one.bytes,
                    "slots": [
                        {"name": slot.name, "active": slot.active, "held_bytes": slot.held_bytes}
                        for slot in slots.slots(connection, one.name)
                    ],
                    "holds_rows": one.holds_rows,
                }
                for one in replaced.kept(connection, name)
            ]
            copied: list[CopiedLine] = [
                {
                    "name": one.name,
                    "backup": one.by,
                    "made_at": format_timestamp(one.replaced_at),
                    "until": format_timestamp(one.until),
                    "bytes": one.bytes,
                }
                for one in copies.copies(connection, name)
            ]
            return Beside(kept, copied)
    except DatabaseError as error:
        return error


def lines(there: Sequence[ReplacedDatabase], copied: Sequence[CopiedLine] = ()) -> list[str]:
    """The same for a person."""
    text = []
    for copy in copied:
        size = "of unknown size" if copy["bytes"] is None else human_bytes(copy["bytes"])
        text.append(f"copy {copy['name']} of {copy['backup']}, {size}, until {copy['until']}")
    for one in there:
        size = "of unknown size" if one["bytes"] is None else human_bytes(one["bytes"])
        what = "rows of tables, kept in" if one.get("holds_rows") else "replaced database"
        text.append(f"{what} {one['name']}, {size}, by {one['by']}")
        for slot in one.get("slots", []):
            held = slot["held_bytes"]
            text.append(
                f"  its replication slot {slot['name']} holds back "
                + ("WAL" if held is None else f"{human_bytes(held)} of WAL")
                # a slot's name has no other letters than a-z, 0-9 and _
                + f"; to end that: SELECT pg_drop_replication_slot('{slot['name']}');"
            )
    return text
