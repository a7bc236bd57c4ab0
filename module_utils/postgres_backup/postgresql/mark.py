"""The mark of a database that is ours to rename and to drop: JSON in its comment.

A comment travels: into dumps, into the manifests of version 0.1.0, with a database that is renamed
by hand. So the mark names the database that it stands on, by its oid and by its server's identity,
and counts for nothing on any other. What a database was called by its people comes back from inside
it.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from ..clock import format_time, format_timestamp, parse_time, parse_timestamp

_MARK = "postgres-backup"
KEPT, SIDE, COPY, ROWS = "replaced", "being restored", "copy", "rows of tables"
_TAILS = {KEPT: "_before_", SIDE: "_restore_", ROWS: "_rows_"}
#: longest identifier in bytes (NAMEDATALEN - 1)
MAX_IDENTIFIER = 63


@dataclasses.dataclass(frozen=True)
class Mark:
    """What the comment of a side database, a kept one or a copy says, as JSON; fields that are
    missing (version 0.1.0 wrote few), or are not what they should be, are None.
    """

    fields: Mapping[str, object]

    @property
    def kind(self) -> str:
        """:data:`KEPT`, :data:`SIDE`, :data:`COPY` or :data:`ROWS`."""
        return self.text(_MARK)

    @property
    def database(self) -> str:
        """Whose it is: the name of the live database."""
        return self.text("database")

    @property
    def comment(self) -> str | None:
        """The database's own."""
        own = self.fields.get("comment")
        return own_comment(own) if isinstance(own, str) else None

    @property
    def replaced_at(self) -> datetime | None:
        """Of a kept one."""
        return self.moment("replaced_at")

    def text(self, name: str) -> str:
        """A field that is text; empty where there is none."""
        said = self.fields.get(name)
        return said if isinstance(said, str) else ""

    def texts(self, name: str) -> list[str]:
        """A field that is a list of texts; empty where there is none."""
        said = self.fields.get(name)
        return [one for one in said if isinstance(one, str)] if isinstance(said, list) else []

    def number(self, name: str) -> int | None:
        said = self.fields.get(name)
        return said if isinstance(said, int) and not isinstance(said, bool) else None

    def moment(self, name: str) -> datetime | None:
        """A time, UTC."""
        said = self.text(name)
        try:
            moment = parse_timestamp(said)
        except ValueError:
            return None
        return moment if format_timestamp(moment) == said else None

    def fits(self, name: str, oid: int, system: str) -> bool:
        """Whether it was made for the database that it stands on, under the name that we gave it.

        :param oid: of that database.
        :param system: the server's system identifier; empty where we may not know.
        """
        made_on = self.text("system")
        return (
            self._is_named(name)
            and self.fields.get("oid", oid) == oid
            and (not made_on or not system or made_on == system)
        )

    def _is_named(self, name: str) -> bool:
        if self.kind == SIDE:
            return is_side_name(name, self.database)
        if self.kind == COPY:
            return name == self.text("name")
        named = rows_name if self.kind == ROWS else kept_name
        return self.replaced_at is not None and name == named(self.database, self.replaced_at)

    def changed(self, **fields: object) -> Mark:
        """The same with other fields."""
        return Mark({**self.fields, **fields})

    def written(self) -> str:
        """As it stands in the comment."""
        return json.dumps(self.fields, ensure_ascii=False)


def make(kind: str, database: str, comment: str | None, **fields: object) -> Mark:
    """A mark; ``comment`` is the database's own."""
    return Mark({_MARK: kind, "database": database, **fields, "comment": own_comment(comment)})


def read(comment: str | None) -> Mark | None:
    """The mark that a comment is; None where it is somebody's own, whatever it looks like."""
    if not comment or not comment.startswith("{"):
        return None
    try:
        said = json.loads(comment)
    except ValueError:
        return None
    if not isinstance(said, dict) or not isinstance(said.get("database"), str):
        return None
    found = Mark(said)
    if found.kind in (KEPT, ROWS) and found.replaced_at is None:
        return None
    return found if found.kind in (*_TAILS, COPY) else None


def own_comment(comment: str | None) -> str | None:
    """What a database's people say of it: the comment itself, or what stands inside our mark."""
    there = read(comment)
    return there.comment if there else comment


def shorten(name: str, tail: str) -> str:
    """``name + tail``, the name cut so that both fit into an identifier (bytes, at a letter's
    border).
    """
    room = MAX_IDENTIFIER - len(tail.encode())
    return name.encode()[:room].decode(errors="ignore") + tail


def kept_name(database: str, moment: datetime) -> str:
    """``<name>_before_<time>``."""
    return shorten(database, _TAILS[KEPT] + format_time(moment))


def rows_name(database: str, moment: datetime) -> str:
    """``<name>_rows_<time>``."""
    return shorten(database, _TAILS[ROWS] + format_time(moment))


def side_name(database: str, moment: datetime) -> str:
    """``<name>_restore_<time>``."""
    return shorten(database, _TAILS[SIDE] + format_time(moment))


def is_side_name(name: str, database: str) -> bool:
    """Whether we would call a side database of ``database`` so."""
    try:
        return name == side_name(database, parse_time(name.rpartition(_TAILS[SIDE])[2]))
    except ValueError:  # no time
        return False


def is_name_of_ours(name: str) -> bool:
    """Whether we give such names by ourselves, to side and kept databases of whichever name."""
    for tail in _TAILS.values():
        try:
            parse_time(name.rpartition(tail)[2])
        except ValueError:  # no time
            continue
        return tail in name
    return False


def kept_moment(name: str, kind: str = KEPT) -> datetime:
    """The time in the name of a kept database.

    :raises ValueError: there is none.
    """
    return parse_time(name.rpartition(_TAILS[kind])[2])


#: so much of the time between two looks counts at most: clocks jump, nights do not
LONGEST_GAP = timedelta(days=1)


def looked_at(mark: Mark, newest_good: datetime | None, now: datetime) -> Mark:
    """The mark after a prune has looked at its database: for how long prunes have seen it, and
    which backup was the newest good one when the first of them did.

    :param now: by the PostgreSQL server's clock.
    """
    last, seen = mark.moment("looked_at"), mark.number("seen_seconds")
    if last is None or seen is None:
        return mark.changed(
            looked_at=format_timestamp(now),
            seen_seconds=0,
            newest_then=format_timestamp(newest_good) if newest_good else None,
        )
    gap = min(max(now - last, timedelta()), LONGEST_GAP)
    return mark.changed(
        looked_at=format_timestamp(now), seen_seconds=seen + int(gap.total_seconds())
    )
