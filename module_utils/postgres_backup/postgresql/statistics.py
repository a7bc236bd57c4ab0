"""The statistics of a database that was just loaded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from ..findings import Finding, finding
from ..machine import signals
from ..machine.carried import Carried
from ..settings import Settings
from .connection import connect, first_line, own_search_path


def gather_statistics(settings: Settings, database: str) -> list[Finding]:
    """Gather them; what they need of the application's functions may fail, and no row is the worse
    for it.
    """
    with connect(settings, database) as connection:
        own_search_path(connection)
        # each table's is a transaction of its own, and gathered again where a crash loses it
        connection.execute("SET synchronous_commit TO off")
        try:
            connection.execute("ANALYZE")
        except (psycopg.ProgrammingError, psycopg.DataError, psycopg.InternalError) as error:
            return [finding("STATISTICS_NOT_GATHERED", f"ANALYZE failed: {first_line(error)}")]
    return []


@contextmanager
def gathered_meanwhile(settings: Settings, database: str) -> Iterator[list[Finding]]:
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
            findings.extend(gather_statistics(settings, database))
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
