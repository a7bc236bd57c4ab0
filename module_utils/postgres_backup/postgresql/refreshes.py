"""Materialized views that a dump fills again while it is loaded, and the servers that some of them
ask: one that is gone must not keep all the rest from coming back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from ..findings import Finding, finding
from ..stream.guard import Statement
from .wire import Refused, Session

_REFRESH = b"REFRESH MATERIALIZED VIEW "
#: SQLSTATEs, or their classes, of what is not this server's fault: a foreign server does not
#: answer, does not know us or is shutting down, or a foreign file is gone
_ELSEWHERE = ("08", "HV", "28", "3D", "57P", "58")
#: SQLSTATE: it reads a view that was left empty
_NOT_FILLED = "55000"


@dataclasses.dataclass(frozen=True)
class Unfilled:
    """A materialized view that was left empty.

    :param statement: what fills it.
    :param why: the server's words.
    """

    statement: str
    why: str


def is_refresh(statement: bytes) -> bool:
    return statement.startswith(_REFRESH)


class Refreshes:
    """The refreshes of one load.

    :param decode: what the server and the dump say, as text.
    """

    def __init__(self, session: Session, decode: Callable[[bytes], str]) -> None:
        self._session, self._decode = session, decode
        self.unfilled: list[Unfilled] = []

    def run(self, statement: Statement) -> None:
        """Fill a view, inside the open transaction, in which nothing is on its way.

        :raises Refused: it cannot be filled, and no other server is to blame.
        """
        self._session.send(b"SAVEPOINT postgres_backup_refresh")
        self._session.send(statement.text, statement.line)
        try:
            self._session.sync()
        except Refused as refused:
            behind = refused.sqlstate == _NOT_FILLED and self.unfilled
            if not (refused.sqlstate.startswith(_ELSEWHERE) or behind):
                raise
            self._session.send(b"ROLLBACK TO SAVEPOINT postgres_backup_refresh")
            text = self._decode(statement.text).strip()
            self.unfilled.append(Unfilled(text, self._decode(refused.message)))
        self._session.send(b"RELEASE SAVEPOINT postgres_backup_refresh")


def findings(unfilled: Sequence[Unfilled], database: str) -> list[Finding]:
    """VIEW_NOT_FILLED for each."""
    return [
        finding(
            "VIEW_NOT_FILLED",
            f"a materialized view of {database} is left empty, since what it reads elsewhere does "
            f"not answer ({one.why}). Once it does: {one.statement}",
            database=database,
        )
        for one in unfilled
    ]
