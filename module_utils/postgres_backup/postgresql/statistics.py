"""The statistics of a database that was just loaded."""

from __future__ import annotations

import psycopg

from ..findings import Finding, finding
from ..settings import Settings
from .connection import connect, first_line, own_search_path


def gather_statistics(settings: Settings, database: str) -> list[Finding]:
    """Gather them; what they need of the application's functions may fail, and no row is the worse
    for it.
    """
    with connect(settings, database) as connection:
        own_search_path(connection)
        try:
            connection.execute("ANALYZE")
        except (psycopg.ProgrammingError, psycopg.DataError, psycopg.InternalError) as error:
            return [finding("STATISTICS_NOT_GATHERED", f"ANALYZE failed: {first_line(error)}")]
    return []
