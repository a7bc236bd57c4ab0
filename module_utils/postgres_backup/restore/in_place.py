"""A restore where there is no room for a second copy: inside the live database, in one transaction,
all or nothing.

The database is emptied and loaded in a transaction that is committed only after the whole backup
went through and every table has the rows it should. Until then nobody sees any of it, and a crash
rolls it back. The price: the application waits from the first statement to the commit, and nothing
is kept to go back to.
"""

from __future__ import annotations

import dataclasses
import re
import time

from psycopg import sql

from ..job import Job
from ..machine import run_mark
from ..postgresql import last_change, refreshes, swap
from ..postgresql.connection import connect_maintenance
from ..postgresql.effort import effort_of
from ..postgresql.load import Load
from ..postgresql.statistics import gather_statistics
from ..postgresql.ways import AnewError, Way, anew
from ..stream.inspector import Report
from ..verify.proof import require_whole
from ..verify.reader import BackupReader
from . import roles
from .emptying import EMPTY
from .named_roles import all_missing_named
from .plan import Plan, Restored


def replace(job: Job, plan: Plan) -> Restored:
    """Empty the live database and load the backup into it. Its owner, settings and privileges stay
    as they are.

    :raises PostgresBackupError: the transaction was rolled back; the database is as it was.
    """
    with connect_maintenance(job.settings, plan.database) as connection:
        findings = roles.create(connection, plan.missing_roles, plan.role_statements)
        notes = last_change.note_statements(
            connection, plan.database, f"restore in place of {plan.name}"
        )
        note = b"\n".join(
            statement.as_string(connection).encode(errors="surrogateescape") for statement in notes
        )
    began = time.monotonic()

    def load(ways: frozenset[Way]) -> Restored:
        job.progress.phase(f"loading {plan.name} inside {plan.database}, in one transaction")
        return _load(job, plan, note, ways)

    def again(error: AnewError) -> None:
        job.progress.step(
            f"{plan.database}: {error.message}; all is as it was, and the load begins anew, "
            "otherwise"
        )

    with all_missing_named(job, plan):
        loaded = anew(load, plan.ways, again)
    downtime = round(time.monotonic() - began, 3)
    findings = [*plan.findings, *findings, *loaded.findings]
    findings += gather_statistics(job.settings, plan.database)
    return dataclasses.replace(loaded, downtime_seconds=downtime, findings=findings)


def _load(job: Job, plan: Plan, note: bytes, ways: frozenset[Way]) -> Restored:
    """One transaction that does it all, or nothing."""
    ejector = swap.Ejector(job.settings, plan.database, spare=run_mark.name())
    reader = BackupReader(job, plan.backup, plan.tools)
    with Load(
        job.settings,
        plan.database,
        transaction=True,
        cleaning=not plan.dumped_by_us,
        superusers=plan.superusers,
        ways=ways,
        effort=effort_of(job.settings),
        beside=reader.ahead_bytes,
    ) as load:
        ejector.start()
        try:
            load.send(EMPTY)
            reader.feed(load.feed, lambda: load.guard.current_table)
            report = load.inspect()
            require_whole(plan.backup, report)
            encoding = load.guard.encoding
            if encoding not in _UNREAD:
                # by itself: the server reads the whole of a message as it begins
                load.send(b"SET client_encoding = 'UTF8'")
            if statements := _assertions(report, encoding) + note:
                load.send(statements)
            load.finish()
        finally:
            ejector.stop()
    findings = load.done.findings() + refreshes.findings(load.unfilled, plan.database)
    return Restored(report.rows, reader.sha256, None, 0.0, findings)


# The tables of extensions hold rows of their own, which are in no dump. A partitioned table has its
# rows in its partitions.
_COUNT = """
SET row_security = off;
DO $postgres_backup$
DECLARE
  r record;
  found bigint;
BEGIN
  FOR r IN SELECT v.name, v.rows, CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY' END AS only
    FROM (VALUES {}) AS v(name, rows) JOIN pg_class c ON c.oid = v.name::regclass
    WHERE NOT EXISTS (
      SELECT FROM pg_depend d
      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  LOOP
    EXECUTE format('SELECT count(*) FROM %s %s', r.only, r.name) INTO found;
    IF found <> r.rows THEN
      RAISE EXCEPTION '% has % rows, the backup has %', r.name, found, r.rows;
    END IF;
  END LOOP;
END $postgres_backup$;
"""


def _assertions(report: Report, encoding: str) -> bytes:
    """Statements that fail, and so roll everything back, where a table has other rows than the dump
    had.

    :param encoding: of the dump. Of some it is not known how names read: there they are sent as
        the bytes that they are.
    """
    rows = [
        sql.SQL("({}, {}::bigint)").format(
            _as_bytes(table, encoding) if encoding in _UNREAD else sql.Literal(table),
            sql.Literal(facts.rows),
        )
        for table, facts in report.tables.items()
    ]
    return _COUNT.replace("{}", sql.SQL(", ").join(rows).as_string(None)).encode() if rows else b""


#: encodings whose names the inspector tells byte by byte where they are not UTF-8
_UNREAD = ("SQL_ASCII", "EUC_TW", "MULE_INTERNAL")


def _as_bytes(table: str, encoding: str) -> sql.Composed:
    name = re.sub(
        rb"\\x([89a-f][0-9a-f])", lambda found: bytes.fromhex(found[1].decode()), table.encode()
    )
    return sql.SQL("convert_from({}, {})").format(sql.Literal(name), sql.Literal(encoding))
