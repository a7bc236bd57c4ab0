"""What belongs to tables beside their rows, while they are brought back: triggers that stay silent,
definitions of tables that are gone, numbers that are not given out again.
"""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Sequence

import psycopg
from psycopg import sql

from ..postgresql.connection import rows, values
from .plan import Plan
from .table import Table


@dataclasses.dataclass(frozen=True)
class _Trigger:
    name: str
    state: str


_TRIGGERS = """
SELECT tgname AS name, tgenabled AS state FROM pg_trigger
WHERE tgrelid = %s AND NOT tgisinternal AND tgenabled <> 'D' AND tgparentid = 0"""
_TRIGGER_STATES = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}


def silence_triggers(live: psycopg.Connection, tables: Sequence[Table]) -> list[sql.Composed]:
    """Switch the tables' own triggers off (foreign keys stay on): an audit trail must not record a
    restore as a day's work.

    :return: the statements that switch them on again, each as it was.
    """
    back = []
    for table in tables:
        for trigger in rows(live, _Trigger, _TRIGGERS, (table.live_oid,)):
            names = (table.identifier, sql.Identifier(trigger.name))
            live.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER {}").format(*names))
            enable = f"ALTER TABLE {{}} {_TRIGGER_STATES[trigger.state]} TRIGGER {{}}"
            back.append(sql.SQL(enable).format(*names))
    return back


def run_definitions(
    plan: Plan,
    side_database: str,
    live: psycopg.Connection,
    tables: Sequence[Table],
    section: str,
) -> None:
    """The definitions of tables that are gone, as pg_dump writes them from the side database."""
    if not tables:
        return
    patterns = [f"--table={table.identifier.as_string(live)}" for table in tables]
    with plan.tools.start(
        "pg_dump", side_database, f"--section={section}", *patterns, stdout=subprocess.PIPE
    ) as process:
        text = process.stdout.read()
        process.check()
    lines = [
        line
        for line in text.decode().splitlines()
        if not line.startswith(("\\restrict ", "\\unrestrict "))
    ]
    live.execute("\n".join(lines).encode())
    live.execute("RESET search_path")


_MOVE_ON = """
SELECT setval({name}, top.n) FROM (SELECT max({column}) AS n FROM {table}) top, {sequence} now
WHERE top.n > now.last_value OR (top.n = now.last_value AND NOT now.is_called)"""


def move_sequences_on(live: psycopg.Connection, table: Table) -> None:
    """Numbers that the table's rows have used are not given out again."""
    for column in table.stored:
        [owned] = values(
            live,
            object,
            "SELECT pg_get_serial_sequence(%s, %s)",
            (table.identifier.as_string(live), column),
        )
        if isinstance(owned, str):
            live.execute(
                sql.SQL(_MOVE_ON).format(
                    name=sql.Literal(owned),
                    column=sql.Identifier(column),
                    table=table.identifier,
                    sequence=sql.SQL(owned),
                )
            )
