"""Guards that also say how a dump is loaded: all of it in one transaction, or table by table."""

from __future__ import annotations

import re

from .grammar import CopyHeader
from .guard import Guard

#: first words of statements that begin or end transactions
_TRANSACTION = (
    b"BEGIN",
    b"START",
    b"COMMIT",
    b"END",
    b"ROLLBACK",
    b"ABORT",
    b"SAVEPOINT",
    b"RELEASE",
    b"PREPARE",
)
#: what psql is told before and after the rows of a table: not of those of extensions, which have
#: rows by now, and not of partitioned ones
_BEFORE_ROWS = b"""BEGIN;
DO $postgres_backup$BEGIN
IF (SELECT relkind = 'r' AND pg_catalog.pg_has_role(relowner, 'USAGE')
        FROM pg_catalog.pg_class WHERE oid = $table$<table>$table$::pg_catalog.regclass)
    AND NOT EXISTS (SELECT FROM ONLY <table>)
THEN TRUNCATE TABLE ONLY <table>; END IF;
END$postgres_backup$;
"""
_AFTER_ROWS = b"COMMIT;\n"
#: psql stops at an error, or goes on
_STRICT, LAX = b"\\set ON_ERROR_STOP 1\n", b"\\set ON_ERROR_STOP 0\n"
#: the beginning of a line that does not drop, in a dump whose beginning does nothing else
_MAKING = re.compile(
    rb"^(?:CREATE|COPY|INSERT|COMMENT|GRANT|REVOKE|SELECT pg_catalog\.lo_) ?", re.MULTILINE
)


class Undivided(Guard):
    """A guard for a load inside one transaction of ours: the dump's own BEGIN and COMMIT (around
    large objects) stay out of it.
    """

    def _decided(self, kind: str) -> None:
        super()._decided(kind)
        self._dropping = self._dropping or self._head[0] in _TRANSACTION


class Placing(Guard):
    """A guard that has each table filled in a transaction of its own, begun by emptying the empty
    table.

    A table that is new in its transaction takes its rows one behind the other. Into an older one,
    PostgreSQL puts short rows where an earlier page has room left (RelationGetBufferForTuple in
    hio.c; CopyFrom sets TABLE_INSERT_SKIP_FSM for new ones only), and then the same rows come out
    in another order, with another hash. pg_restore does the same when it works in parallel, to
    spare the log where wal_level is minimal.

    :param cleaning: the dump may begin by dropping what is not there (``pg_dump --clean`` of a
        script): psql starts under :data:`LAX`, and errors count from the first statement on that
        makes something.
    """

    def __init__(self, drop_restrict: bool = False, cleaning: bool = False) -> None:
        super().__init__(drop_restrict)
        self._rows_ended, self._cleaning = False, cleaning

    def _copy(self, header: CopyHeader | None) -> None:
        super()._copy(header)
        assert header is not None  # the guard has refused it
        self._cleaning = False
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
        if self._cleaning and not self._dropping and (making := _MAKING.search(buffer, start, end)):
            self._cleaning = False
            super()._text(buffer, start, making.start())
            self._pass(_STRICT, 0, len(_STRICT))
            start = making.start()
        super()._text(buffer, start, end)
