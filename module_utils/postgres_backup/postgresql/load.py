"""A plain dump into a database, statement by statement, stopping at the first error.

psql is not asked: it would run what a dump says by a backslash, and finds the ends of statements by
rules that a dump can bend. Here the server gets what the guard has cut out, one statement in a
message and never two, inside transactions of ours, in which it refuses to make and drop databases
and to change its own settings.
"""

from __future__ import annotations

from types import TracebackType

from ..errors import BadBackupError
from ..findings import finding
from ..settings import Settings
from ..stream import grammar
from ..stream.grammar import CopyHeader
from ..stream.guard import Guard, Statement
from ..stream.inspector import Report
from ..stream.other_tools import rows_alone
from .connection import connect
from .in_vain import InVain
from .load_errors import explained
from .wire import Refused, Session

#: what one transaction may weigh; a statement that makes something weighs ten, for it keeps locks
#: until the commit, and a server has room for some thousands (max_locks_per_transaction)
_TRANSACTION_WEIGHT = 1000
_LIGHT, _HEAVY = 1, 10
_LIGHT_WORDS = (b"INSERT", b"SELECT")
#: so much is on its way at most before an answer is awaited, bytes
_SYNC_BYTES = 8 << 20
#: A script that names neither schema nor encoding means the database's own. Commits need not wait
#: for the disk: the last one does. A server notices within seconds when we are gone (the setting is
#: new in 14).
_SETTINGS = b"""
RESET search_path;
SELECT pg_catalog.set_config(
    'client_encoding', pg_catalog.current_setting('server_encoding'), false);
SET synchronous_commit = off;
SELECT pg_catalog.set_config(name, '5s', false) FROM pg_catalog.pg_settings
    WHERE name = 'client_connection_check_interval'
"""
#: whether the rows of a table may begin by emptying it: not of those of extensions, which have rows
#: by now, and not of partitioned ones
_PLACEABLE = b"""
SELECT (SELECT relkind = 'r' AND pg_catalog.pg_has_role(relowner, 'USAGE')
        FROM pg_catalog.pg_class WHERE oid = $1::pg_catalog.regclass)
    AND NOT EXISTS (SELECT FROM ONLY %b)"""


class Load:
    """A dump on its way into a database; a context manager, after which the connection is gone and
    what was not committed is rolled back.

    A table's rows come in a transaction of their own, begun by emptying the empty table: a table
    that is new in its transaction takes its rows one behind the other. Into an older one,
    PostgreSQL puts short rows where an earlier page has room left (RelationGetBufferForTuple in
    hio.c; CopyFrom sets TABLE_INSERT_SKIP_FSM for new ones only), and then the same rows come out
    in another order, with another hash. pg_restore does the same when it works in parallel, to
    spare the log where wal_level is minimal.

    :param transaction: one transaction that only :meth:`finish` ends well; else several, each of so
        many statements that the server's locks suffice.
    :param cleaning: the dump is a script's, and may ask for some things in vain: see
        :class:`InVain`.
    :param superusers: roles that nobody should be told to grant.
    :raises DatabaseError: from every method: the server refused, or is gone.
    :raises BadBackupError: from :meth:`feed` and :meth:`finish`: see :class:`Guard`.
    """

    def __init__(
        self,
        settings: Settings,
        database: str,
        transaction: bool = False,
        cleaning: bool = False,
        superusers: tuple[str, ...] = (),
    ) -> None:
        self.guard = Guard(self)
        self._user, self._superusers = settings.db_user, superusers
        self._undivided, self._in_vain = transaction, InVain(cleaning)
        self._connecting = connect(settings, database)
        self._open = False  # a transaction
        self._theirs = False  # the dump has begun one of its own
        self._weight = self._bytes = 0

    def __enter__(self) -> Load:
        self._session = Session(self._connecting.__enter__())
        try:
            self.send(_SETTINGS)
            if self._undivided:
                self._begin()
        except BaseException:
            self._connecting.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connecting.__exit__(None, None, None)

    def feed(self, chunk: bytes) -> None:
        """The next piece of the dump."""
        try:
            self.guard.feed(chunk)
        except Refused as refused:
            raise self._explained(refused) from None

    def send(self, statements: bytes) -> None:
        """Statements of our own, past the guard."""
        try:
            self._sync()
            self._session.run(statements)
        except Refused as refused:
            raise self._explained(refused) from None
        strings = self._session.reported("standard_conforming_strings") == "on"
        self.guard.reads(self._session.reported("client_encoding"), strings)

    def inspect(self) -> Report:
        """The dump has ended: what it was."""
        try:
            return self.guard.finish()
        except Refused as refused:
            raise self._explained(refused) from None

    def finish(self) -> None:
        """Wait until the server has done everything, and commit it."""
        if self._theirs:
            raise _refusal(
                "TRANSACTION_STATEMENT", "it begins a transaction that it does not commit"
            )
        try:
            self._sync()
            if self._open:
                self._session.send(b"SET LOCAL synchronous_commit = on")
                self._commit()
            self._sync()
        except Refused as refused:
            raise self._explained(refused) from None

    # what the guard hands on

    def statement(self, statement: Statement) -> None:
        """Send it; now and then look how those before it went."""
        if states := self._in_vain.states(statement.text):
            self._try(statement, states)
            return
        self._begin()
        self._session.send(statement.text, statement.line)
        self._weight += _LIGHT if statement.text.startswith(_LIGHT_WORDS) else _HEAVY
        self._bytes += len(statement.text)
        self._rest()

    def transaction(self, begins: bool) -> None:
        """The dump's own transaction is a part of ours, which does not end before it: large objects
        are open as long as theirs lasts.
        """
        self._theirs = begins
        self._rest()

    def copy(self, header: CopyHeader, text: bytes, line: int) -> None:
        """Begin the rows of a table."""
        if self._in_vain.cleaning and self.guard.rows_alone:
            raise rows_alone(self.guard.rows_alone)
        self._in_vain.begins_to_make()
        self._sync()
        if not (self._undivided or self._theirs):
            self._commit()
        self._begin()
        if not (self._undivided or self._theirs):
            self._session.send(_PLACEABLE % header.table, line, [header.table])
            if self._session.sync() == b"t":
                self._session.send(b"TRUNCATE TABLE ONLY " + header.table, line)
        self._session.copy(text, line)

    def rows(self, data: bytes) -> None:
        """Rows of that table."""
        self._session.rows(data)

    def copy_end(self) -> None:
        """The end of the rows; what follows is in another transaction."""
        self._session.copy_end()
        self._require_transaction()
        if not (self._undivided or self._theirs):
            self._commit()

    # transactions

    def _begin(self) -> None:
        if not self._open:
            self._session.send(b"BEGIN")
            self._open, self._weight = True, 0

    def _commit(self) -> None:
        """On its way; what comes next may follow at once."""
        if self._open:
            self._session.send(b"COMMIT")
            self._open = False

    def _rest(self) -> None:
        """Look how it went, and commit, when enough has been sent."""
        if self._weight >= _TRANSACTION_WEIGHT or self._bytes >= _SYNC_BYTES:
            self._sync()
            if not (self._undivided or self._theirs):
                self._commit()
            self._weight = 0

    def _sync(self) -> None:
        """Wait for what was sent; then the server must still be where it should be."""
        self._bytes = 0
        self._session.sync()
        self._require_transaction()
        self._require_reading()

    def _require_transaction(self) -> None:
        """:raises BadBackupError: a statement has ended our transaction, or begun one."""
        if not (self._session.in_transaction if self._open else self._session.idle):
            raise _refusal(
                "TRANSACTION_STATEMENT", "a statement ended the transaction that it is loaded in"
            )

    def _require_reading(self) -> None:
        """:raises BadBackupError: the server reads strings in another way than the guard by now."""
        encoding = self._session.reported("client_encoding")
        strings = self._session.reported("standard_conforming_strings")
        if grammar.hiding(encoding) != grammar.hiding(self.guard.encoding):
            raise _refusal("READS_DIFFERENTLY", f"it changes client_encoding to {encoding} unseen")
        if (strings == "on") != self.guard.standard_strings:
            raise _refusal(
                "READS_DIFFERENTLY", f"it turns standard_conforming_strings {strings} unseen"
            )

    def _try(self, statement: Statement, states: tuple[str, ...]) -> None:
        """A statement that may fail with one of these SQLSTATEs: in a transaction of its own, or a
        part of one.
        """
        part = self._undivided or self._theirs
        if not part:
            self._commit()
        self._begin()
        if part:
            self._session.send(b"SAVEPOINT postgres_backup")
        self._session.send(statement.text, statement.line)
        try:
            self._sync()
        except Refused as refused:
            if refused.sqlstate not in states:
                raise
            self._session.send(b"ROLLBACK TO SAVEPOINT postgres_backup" if part else b"ROLLBACK")
            self._open = part
        if part:
            self._session.send(b"RELEASE SAVEPOINT postgres_backup")

    def _explained(self, refused: Refused) -> Exception:
        return explained(refused, self.guard.decode(refused.message), self._user, self._superusers)


def _refusal(code: str, cause: str) -> BadBackupError:
    return BadBackupError(
        f"Failed to load the dump: {cause}",
        "pg_dump writes no such dump. If you trust it, load it by hand into a server of its own.",
        [finding(code, f"{cause[0].upper()}{cause[1:]}.")],
    )
