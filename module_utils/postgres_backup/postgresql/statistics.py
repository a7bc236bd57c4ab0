"""The statistics of a database that was just loaded."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import sql

from ..findings import Finding, finding
from ..machine import signals
from ..machine.carried import Carried
from ..settings import Settings
from .connection import connect, first_line, own_search_path

#: all but those of which nothing is to be known that was not there when their rows were in
_OTHERS = """
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' AND (c.oid <> ALL (%s::oid[])
    OR EXISTS (SELECT FROM pg_catalog.pg_statistic_ext e WHERE e.stxrelid = c.oid)
    OR EXISTS (SELECT FROM pg_catalog.pg_index i
        WHERE i.indrelid = c.oid AND i.indexprs IS NOT NULL))"""


def gather_statistics(
    settings: Settings, database: str, gathered: Collection[int] = ()
) -> list[Finding]:
    """Gather them; what they need of the application's functions may fail, and no row is the worse
    for it.

    :param gathered: numbers of tables of which they are there since their rows were in. They lack
        what belongs to indexes of expressions and to extended statistics.
    """
    with connect(settings, database) as connection:
        named: list[sql.Identifier] = []
        if gathered:
            others = connection.execute(_OTHERS, (list(gathered),)).fetchall()
            named = [sql.Identifier(*other) for other in others]
        own_search_path(connection)
        # each table's is a transaction of its own, and gathered again where a crash loses it
        connection.execute("SET synchronous_commit TO off")
        try:
            connection.execute(sql.SQL("ANALYZE {}").format(sql.SQL(", ").join(named)))
        except (psycopg.ProgrammingError, psycopg.DataError, psycopg.InternalError) as error:
            return [finding("STATISTICS_NOT_GATHERED", f"ANALYZE failed: {first_line(error)}")]
    return []


@contextmanager
def gathered_meanwhile(
    settings: Settings, database: str, gathered: Collection[int] = ()
) -> Iterator[list[Finding]]:
    """Gather them while the block works, and wait for them at its end. Where the block fails nobody
    waits: who drops the database ends the session too.

    :return: findings, which are there after the block.
    :raises DatabaseError: at the end of the block, as from :func:`gather_statistics`.
    """
    findings: list[Finding] = []
    failure, changed = Carried(), signals.Condition()
    ended = threading.Event()

    def gather() -> None:
        with failure:
            findings.extend(gather_statistics(settings, database, gathered))
        with changed:
            ended.set()
            changed.notify_all()

    thread = threading.Thread(target=gather, name="statistics", daemon=True)
    with signals.hold:
        thread.start()
    yield findings
    with changed:
        changed.wait_for(ended.is_set)
    failure.check()
