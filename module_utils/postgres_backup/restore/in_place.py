"""A restore where there is no room for a second copy: inside the live database, in one transaction,
all or nothing.

The database is emptied and loaded in a transaction that is committed only after the whole backup
went through and every table has the rows it should. Until then nobody sees any of it, and a crash
rolls it back. The price: the application waits from the first statement to the commit, and nothing
is kept to go back to.
"""

from __future__ import annotations

import re
import time

from psycopg import sql

from ..job import Job
from ..postgresql import last_change, swap
from ..postgresql.connection import connect, connect_maintenance
from ..postgresql.load import Load
from ..stream.inspector import Report
from ..verify.proof import require_whole
from ..verify.reader import BackupReader
from . import roles
from .plan import Plan, Restored

# What a plain dump creates and therefore must not be there. IF EXISTS: what is dropped takes others
# with it. The schema public comes back as initdb leaves it (template1 since 15: owned by
# pg_database_owner), since a dump takes that for given; who may not drop it (before 15 it was a
# superuser's) empties it. Default privileges would add grants to what is created.
_EMPTY = b"""
SET lock_timeout = '60s';
SET client_min_messages = warning;
DO $empty$
DECLARE
  r record;
  public_is_ours boolean;
BEGIN
  FOR r IN
    SELECT format('DROP EVENT TRIGGER IF EXISTS %I CASCADE', evtname) AS c FROM pg_event_trigger
    UNION ALL
    SELECT format('DROP PUBLICATION IF EXISTS %I CASCADE', pubname) FROM pg_publication
    UNION ALL
    SELECT format('DROP EXTENSION IF EXISTS %I CASCADE', extname) FROM pg_extension
      WHERE extname <> 'plpgsql'
  LOOP EXECUTE r.c; END LOOP;
  public_is_ours := coalesce((
    SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'public'), true);
  FOR r IN
    SELECT format('DROP SCHEMA IF EXISTS %I CASCADE', nspname) AS c FROM pg_namespace
      WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
        AND (nspname <> 'public' OR public_is_ours)
    UNION ALL
    SELECT format('DROP FOREIGN DATA WRAPPER IF EXISTS %I CASCADE', fdwname)
      FROM pg_foreign_data_wrapper
    UNION ALL
    SELECT format(
        'DROP CAST IF EXISTS (%s AS %s) CASCADE', castsource::regtype, casttarget::regtype)
      FROM pg_cast WHERE oid >= 16384
    UNION ALL
    SELECT format('DROP LANGUAGE IF EXISTS %I CASCADE', lanname) FROM pg_language
      WHERE oid >= 16384 AND lanname <> 'plpgsql'
  LOOP EXECUTE r.c; END LOOP;
  PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;
  FOR r IN
    SELECT d.defaclrole::regrole AS role, k.word, a.grantee, a.privilege_type AS privilege, a.given
    FROM pg_default_acl d
    JOIN (VALUES ('r', 'r', 'TABLES'), ('S', 's', 'SEQUENCES'), ('f', 'f', 'FUNCTIONS'),
        ('T', 'T', 'TYPES'), ('n', 'n', 'SCHEMAS'), ('L', 'L', 'LARGE OBJECTS'))
      AS k(kind, built_in, word) ON k.kind = d.defaclobjtype::text,
    LATERAL (
      SELECT grantee, privilege_type, false AS given FROM aclexplode(d.defaclacl)
      UNION ALL
      SELECT grantee, privilege_type, true
        FROM aclexplode(acldefault(k.built_in::"char", d.defaclrole))) AS a
    WHERE d.defaclnamespace = 0 ORDER BY a.given
  LOOP
    EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %s %s %s ON %s %s %s',
      r.role, CASE WHEN r.given THEN 'GRANT' ELSE 'REVOKE' END, r.privilege, r.word,
      CASE WHEN r.given THEN 'TO' ELSE 'FROM' END,
      CASE r.grantee WHEN 0 THEN 'PUBLIC' ELSE r.grantee::regrole::text END);
  END LOOP;
  IF NOT public_is_ours THEN
    LOOP
      SELECT format('DROP %s IF EXISTS %s CASCADE', o.type, o.identity) AS c INTO r
        FROM pg_depend d, pg_identify_object(d.classid, d.objid, 0) AS o
        WHERE d.refclassid = 'pg_namespace'::regclass
          AND d.refobjid = 'public'::regnamespace AND d.deptype = 'n'
          AND o.type NOT IN ('default acl', 'publication namespace') LIMIT 1;
      EXIT WHEN NOT FOUND;
      EXECUTE r.c;
    END LOOP;
    RETURN;
  END IF;
  CREATE SCHEMA public;
  COMMENT ON SCHEMA public IS 'standard public schema';
  IF current_setting('server_version_num')::int >= 150000 THEN
    GRANT USAGE ON SCHEMA public TO PUBLIC;
    ALTER SCHEMA public OWNER TO pg_database_owner;
  ELSE
    GRANT ALL ON SCHEMA public TO PUBLIC;
  END IF;
END $empty$;
SET lock_timeout = 0;
RESET client_min_messages;
"""


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
    job.progress.phase(f"loading {plan.name} inside {plan.database}, in one transaction")
    began = time.monotonic()
    ejector = swap.Ejector(job.settings, plan.database, spare="postgres-backup")
    reader = BackupReader(job, plan.backup, plan.tools)
    with Load(
        job.settings,
        plan.database,
        transaction=True,
        cleaning=not plan.dumped_by_us,
        superusers=plan.superusers,
    ) as load:
        ejector.start()
        try:
            load.send(_EMPTY)
            reader.feed(load.feed, lambda: load.guard.current_table)
            report = load.inspect()
            require_whole(plan.backup, report)
            load.send(_head(load.guard.encoding) + _assertions(report, load.guard.encoding) + note)
            load.finish()
        finally:
            ejector.stop()
    downtime = round(time.monotonic() - began, 3)
    with connect(job.settings, plan.database) as connection:
        connection.execute("ANALYZE")
    return Restored(report.rows, reader.sha256, None, downtime, [*plan.findings, *findings])


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


def _head(encoding: str) -> bytes:
    """What precedes statements of ours behind a dump of this encoding."""
    return b"" if encoding in _UNREAD else b"SET client_encoding = 'UTF8';\n"


def _as_bytes(table: str, encoding: str) -> sql.Composed:
    name = re.sub(
        rb"\\x([89a-f][0-9a-f])", lambda found: bytes.fromhex(found[1].decode()), table.encode()
    )
    return sql.SQL("convert_from({}, {})").format(sql.Literal(name), sql.Literal(encoding))
