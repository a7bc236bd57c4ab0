"""A restore where there is no room for a second copy: inside the live database, in one transaction, all or nothing.

The database is emptied and loaded in a transaction that is committed only after the whole backup went
through and every table has the rows it should. Until then nobody sees any of it, and a crash rolls it back. The price: the
application waits from the first statement to the commit, and nothing is kept to go back to.
"""

from __future__ import annotations

import time

from psycopg import sql

from . import postgres, roles, swap
from .errors import DatabaseError
from .inspector import Report
from .load import Load
from .progress import Progress
from .proof import require_whole
from .settings import Settings
from .source import Source
from .store import Store

# What a plain dump creates and therefore must not be there. Order: what depends on others first.
# The schema public comes back as initdb leaves it (template1 since 15: owned by pg_database_owner), since a dump takes that for given.
_EMPTY = b"""
SET lock_timeout = '60s';
DO $empty$
DECLARE r record;
BEGIN
  FOR r IN SELECT format('DROP EVENT TRIGGER %I CASCADE', evtname) AS c FROM pg_event_trigger
    UNION ALL SELECT format('DROP PUBLICATION %I CASCADE', pubname) FROM pg_publication
    UNION ALL SELECT format('DROP EXTENSION %I CASCADE', extname) FROM pg_extension WHERE extname <> 'plpgsql'
  LOOP EXECUTE r.c; END LOOP;
  FOR r IN SELECT format('DROP SCHEMA %I CASCADE', nspname) AS c FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
    UNION ALL SELECT format('DROP FOREIGN DATA WRAPPER %I CASCADE', fdwname) FROM pg_foreign_data_wrapper
    UNION ALL SELECT format('DROP CAST (%s AS %s) CASCADE', castsource::regtype, casttarget::regtype) FROM pg_cast WHERE oid >= 16384
    UNION ALL SELECT format('DROP LANGUAGE %I CASCADE', lanname) FROM pg_language WHERE oid >= 16384 AND lanname <> 'plpgsql'
  LOOP EXECUTE r.c; END LOOP;
  PERFORM lo_unlink(oid) FROM pg_largeobject_metadata;
  CREATE SCHEMA public;
  COMMENT ON SCHEMA public IS 'standard public schema';
  IF current_setting('server_version_num')::int >= 150000 THEN
    ALTER SCHEMA public OWNER TO pg_database_owner;
    GRANT USAGE ON SCHEMA public TO PUBLIC;
  ELSE
    GRANT ALL ON SCHEMA public TO PUBLIC;
  END IF;
END $empty$;
SET lock_timeout = 0;
"""


def replace(settings: Settings, store: Store, made, identities: tuple[str, ...], progress: Progress) -> dict:
    """Empty the live database and load the backup into it.

    :param made: a ``preflight.Plan``.
    :return: ``rows sha256 kept_database downtime_seconds findings``.
    :raises PostgresBackupError: the transaction was rolled back; the database is as it was.
    """
    if made.live is None:
        raise DatabaseError(f"There is no database {made.database} to restore in place", "Restore without --in-place: it is made anew")
    with postgres.connect_maintenance(settings, made.database) as connection:
        roles.create(connection, made.missing_roles, made.role_statements)
    progress.phase(f"loading {made.backup.name} inside {made.database}, in one transaction")
    began = time.monotonic()
    ejector = swap.Ejector(settings, made.database, spare="postgres-backup")
    source = Source(store, made.backup, made.tools, identities, progress)
    with Load(made.tools, made.database, transaction=True) as load:
        ejector.start()
        try:
            load.send(_EMPTY)
            source.feed(load.feed, lambda: load.guard.current_table)
            report = load.inspect()
            require_whole(made.backup, report)
            load.send(_assertions(report).encode())
            load.finish()
        finally:
            ejector.stop()
    downtime = round(time.monotonic() - began, 3)
    with postgres.connect(settings, made.database) as connection:
        connection.execute("ANALYZE")
    return {
        "rows": report.rows,
        "sha256": source.sha256,
        "kept_database": None,
        "downtime_seconds": downtime,
        "findings": made.findings,
    }


def _assertions(report: Report) -> str:
    """Statements that fail, and so roll everything back, where a table has other rows than the dump had."""
    checks = []
    for table, facts in report.tables.items():
        message = sql.Literal(f"{table} has other rows than the backup").as_string(None)
        checks.append(f"  IF (SELECT count(*) FROM ONLY {table}) <> {facts.rows} THEN RAISE EXCEPTION USING MESSAGE = {message}; END IF;")
    tag = "$postgres_backup_rows$"
    return f"\nSET row_security = off;\nDO {tag}\nBEGIN\n" + "\n".join(checks) + f"\nEND {tag};\n" if checks else ""
