"""A plain dump into a database through psql, stopping at the first error.

What psql is given has passed the guard first: nothing in a dump can lead out of the database that is being loaded.
"""

from __future__ import annotations

import re
import subprocess

from .dump import write_all
from .errors import DatabaseError
from .guard import CopyHeader, Guard
from .inspector import Report
from .programs import Programs


class Placing(Guard):
    """A guard that has each table filled in a transaction of its own, begun by emptying the empty table.

    A table that is new in its transaction takes its rows one behind the other. Into an older one, PostgreSQL puts
    short rows where an earlier page has room left (RelationGetBufferForTuple in hio.c; CopyFrom sets TABLE_INSERT_SKIP_FSM
    for new ones only), and then the same rows come out in another order, with another hash. pg_restore does the
    same when it works in parallel, to spare the log where wal_level is minimal.
    """

    def __init__(self, drop_restrict: bool = False) -> None:
        super().__init__(drop_restrict)
        self._rows_ended = False

    def _copy(self, header: CopyHeader | None) -> None:
        super()._copy(header)
        before = _BEFORE_ROWS.replace(b"<table>", header.table)
        self._pass(before, 0, len(before))

    def _copy_end(self) -> None:
        super()._copy_end()
        self._rows_ended = True

    def _text(self, buffer: bytes, start: int, end: int) -> None:
        if self._rows_ended:
            self._rows_ended = False
            line = buffer.index(b"\n", start) + 1  # what follows rows is the line that ends them
            super()._text(buffer, start, line)
            self._pass(_AFTER_ROWS, 0, len(_AFTER_ROWS))
            start = line
        super()._text(buffer, start, end)


# Not the tables of extensions, which have rows by now, and not partitioned ones.
_BEFORE_ROWS = b"""BEGIN;
DO $postgres_backup$BEGIN
IF (SELECT relkind = 'r' AND pg_catalog.pg_has_role(relowner, 'USAGE') FROM pg_catalog.pg_class WHERE oid = $table$<table>$table$::pg_catalog.regclass)
    AND NOT EXISTS (SELECT FROM ONLY <table>)
THEN TRUNCATE TABLE ONLY <table>; END IF;
END$postgres_backup$;
"""
_AFTER_ROWS = b"COMMIT;\n"


class Load:
    """One psql at work; a context manager, after which it is gone.

    :param transaction: one transaction that only :meth:`commit` ends well; else each statement stands for itself.
    """

    def __init__(self, programs: Programs, database: str, transaction: bool = False) -> None:
        self.guard = (Guard if transaction else Placing)(drop_restrict=not programs.knows_restrict)
        self._transaction = transaction
        # results of SELECT setval() are of no interest; commits need not wait for the disk: the swap that makes them count does
        self._process = programs.start(
            "psql", database, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null", "--file=-", stdin=subprocess.PIPE
        )
        self.send(b"SET synchronous_commit = off;\n" + (b"BEGIN;\n" if transaction else b""))

    def send(self, statements: bytes) -> None:
        """Statements of our own, past the guard.

        :raises DatabaseError: psql has stopped.
        """
        try:
            write_all(self._process.child.stdin.fileno(), statements)
        except BrokenPipeError:
            self._explain()

    def feed(self, chunk: bytes) -> None:
        """The next piece of the dump."""
        passed = self.guard.filter(chunk)
        if passed:
            self.send(passed)

    def inspect(self) -> Report:
        """The dump has ended: what it was."""
        return self.guard.finish()

    def finish(self) -> None:
        """Wait until psql has done everything; with a transaction, commit it.

        :raises DatabaseError: a statement failed.
        """
        if self._transaction:
            self.send(b"\nCOMMIT;\n")
        self._process.child.stdin.close()
        self._explain()

    def _explain(self) -> None:
        """:raises DatabaseError: psql did not end with 0; with what PostgreSQL said and what can be done about it."""
        status = self._process.wait()
        if status == 0:
            return
        said = next((line for line in self._process.complaints.splitlines() if re.search(r"\b(ERROR|FATAL|error):", line)), self._process.complaints[-300:])
        said = re.sub(r"^psql:.*?:(?=\d+:)", "line ", said.strip())
        raise DatabaseError(f"Failed to load the dump: {said or f'psql ended with {status}'}", _hint(said))

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_) -> None:
        self._process.end()


_HINTS = (
    (r'role "(.+?)" does not exist', 'Create it first: CREATE ROLE "{0}";'),
    (r'extension "(.+?)" is not available', "Install the package that brings the extension {0} on the database server"),
    (r'permission denied to create extension "(.+?)"', "Only a superuser may create {0}: restore as one (backup_db_user), or have it created in template1"),
    (r'must be (?:able to SET ROLE|member of role) "(.+?)"', 'As a superuser: GRANT "{0}" TO the user in backup_db_user'),
    (r"No space left on device", "The database server's disk is full: make room there"),
    (r'unrecognized configuration parameter "(.+?)"', "The backup was made by a newer PostgreSQL than this server: restore into that version or newer"),
)


def _hint(said: str) -> str:
    for pattern, hint in _HINTS:
        if found := re.search(pattern, said):
            return hint.format(*found.groups())
    return "The database server's log has more"
