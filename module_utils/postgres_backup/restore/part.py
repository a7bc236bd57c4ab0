"""A part of a backup alone in a side database: what it leans on is not in it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import psycopg
from psycopg import sql

from ..catalog.manifest import Manifest
from ..findings import Finding, finding
from ..job import Job
from ..postgresql.connection import connect
from ..text import printable

#: the schema in a table's name as a dump writes it
_SCHEMA = re.compile(r'("(?:[^"]|"")+"|[^".\s]+)\.')
#: statements that are named
_MOST_NAMED = 3


def prepare(job: Job, side: str, manifest: Manifest | None) -> None:
    """Make the schemas of its tables, and the extensions that the database had: a dump of tables
    holds neither. An extension that cannot be made here may be none that it needs.
    """
    if manifest is None:
        return
    schemas = {_unquoted(match[1]) for name in manifest["tables"] if (match := _SCHEMA.match(name))}
    extended = manifest.get("extensions", [])
    schemas |= {one.get("schema") or "public" for one in extended}
    with connect(job.settings, side) as connection:
        there = {name for (name,) in connection.execute("SELECT nspname FROM pg_namespace")}
        for schema in sorted(schemas - there):
            made = sql.Identifier(schema)
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(made))
            # their owners are given the tables that are made in it
            connection.execute(sql.SQL("GRANT ALL ON SCHEMA {} TO PUBLIC").format(made))
        for one in extended:
            statement = sql.SQL("CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {}").format(
                sql.Identifier(one["name"]), sql.Identifier(one.get("schema") or "public")
            )
            try:
                with connection.transaction():
                    connection.execute(statement)
            except psycopg.DatabaseError:
                continue


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def left_out(name: str, statements: Sequence[str]) -> list[Finding]:
    """PART_LEFT_OUT: what could not be made without what is not in the part ``name``."""
    if not statements:
        return []
    some = "; ".join(printable(" ".join(one.split()))[:200] for one in statements[:_MOST_NAMED])
    rest = len(statements) - _MOST_NAMED
    more = f"; and {rest} more" if rest > 0 else ""
    message = f"{name} is a part, and these lean on what is not in it: {some}{more}"
    return [finding("PART_LEFT_OUT", message)]
