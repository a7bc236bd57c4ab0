"""What a load does otherwise than pg_dump wrote it, where the rows of a database that works do not
go in as they are dumped.

pg_dump empties ``search_path``, loads tables one by one, and makes indexes last. A function of the
database that names another without its schema is lost without the path; a CHECK that reads another
table finds it empty; a row that names an index (``regclass``) finds none. None of that can be seen
in the dump. So a load that fails of it begins anew, and does otherwise what it failed of.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable
from typing import TypeVar

from ..errors import DatabaseError
from ..findings import Finding, finding
from .load_errors import UNKNOWN
from .wire import Refused

T = TypeVar("T")


class Way(enum.Enum):
    """One thing that is done otherwise."""

    #: rows and what is made of them find names by the database's own search_path
    SEARCH_PATH = "search_path"
    #: CHECKs that call functions are left out before the rows, and made after all of them
    CHECKS_LAST = "checks"
    #: rows that name relations wait until there are indexes
    NAMES_LAST = "names"
    #: the rows of one table come after those of another, all by one session; and where two sessions
    #: have waited for each other, it is tried once more
    ONE_BY_ONE = "one by one"


class AnewError(DatabaseError):
    """A load failed of what a new one can do otherwise.

    :ivar way: what that would be.
    """

    def __init__(self, error: DatabaseError, way: Way) -> None:
        super().__init__(error.message, error.hint, error.findings, error.passes)
        self.way = way


#: a CHECK says no; a function raises an error of its own, or has found no row
_CHECK, _RAISED = "23514", ("P0001", "P0002")

#: what no other order of the rows would spare: SQLSTATE classes (no room, ended from outside, the
#: system), and a lost connection
_NOT_OF_ORDER = ("53", "57", "58", "")


def may_be_of_order(refused: Refused) -> bool:
    """Whether a refusal may be due to rows that came before others."""
    return refused.sqlstate[:2] not in _NOT_OF_ORDER


def other_way(refused: Refused, ways: frozenset[Way]) -> Way | None:
    """What a new load could do otherwise than the one that was refused.

    :param ways: what that one did already.
    """
    state, fitting = refused.sqlstate, list[Way]()
    if state == _CHECK or (state in _RAISED and refused.inside):
        # a CHECK may say no for want of the path, too
        fitting = [Way.CHECKS_LAST, Way.SEARCH_PATH]
    elif state in UNKNOWN and refused.inside:
        fitting = [Way.SEARCH_PATH]
    elif state == "42P01" and refused.copied:
        fitting = [Way.NAMES_LAST]
    return next((way for way in fitting if way not in ways), None)


@dataclasses.dataclass
class Done:
    """What a load did otherwise, as far as it had to.

    :ivar search_path: that was in place of the dump's empty one.
    :ivar checks: that were made last, as ``ok on public.orders``.
    :ivar tables: whose rows waited for the indexes.
    """

    search_path: str = ""
    checks: str = ""
    tables: list[str] = dataclasses.field(default_factory=list)

    def findings(self) -> list[Finding]:
        """What the result of a restore says of it."""
        found = []
        if self.search_path:
            found.append(
                finding(
                    "SEARCH_PATH_USED",
                    "functions of the database name others without their schema, which is not "
                    "found by the empty search_path of a dump: its rows and indexes were made "
                    f"with the database's own, {self.search_path}",
                )
            )
        if self.checks:
            found.append(
                finding(
                    "CHECKS_LAST",
                    "a CHECK reads another table: those that call functions were made after "
                    f"the rows of all tables ({self.checks})",
                )
            )
        if self.tables:
            found.append(
                finding(
                    "NAMES_LAST",
                    "rows name an index, which a dump makes after them: they were loaded behind "
                    f"the indexes ({', '.join(self.tables)})",
                )
            )
        return found


def anew(
    attempt: Callable[[frozenset[Way]], T],
    ways: frozenset[Way],
    again: Callable[[AnewError], None],
) -> T:
    """What an attempt returns; where it fails of something that can be done otherwise, another one
    does.

    :param attempt: does what it is told otherwise; leaves nothing when it fails.
    :param ways: for the first one.
    :param again: told before each further one.
    """
    while True:
        try:
            return attempt(ways)
        except AnewError as error:
            ways |= {error.way}
            again(error)
