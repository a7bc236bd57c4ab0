"""A plain dump into a database, statement by statement, stopping at the first error.

psql is not asked: it would run what a dump says by a backslash, and finds the ends of statements by
rules that a dump can bend. Here the server gets what the guard has cut out, one statement in a
message and never two, inside transactions of ours, in which it refuses to make and drop databases
and to change its own settings.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Collection, Mapping
from types import TracebackType
from typing import Protocol

from ..errors import BadBackupError, DatabaseError
from ..findings import finding
from ..machine import signals
from ..settings import Settings
from ..stream import grammar
from ..stream.frame import Frame
from ..stream.grammar import CopyHeader
from ..stream.guard import Guard, Statement
from ..stream.inspector import Inspector, Report, TableFacts
from ..stream.other_tools import rows_alone
from . import early, row_order, side_by_side
from .chosen import Chosen, adds_key
from .connection import connect
from .effort import GENTLE, Effort
from .in_vain import InVain
from .load_errors import explained
from .otherwise import Otherwise
from .refreshes import Refreshes, Unfilled, is_refresh
from .ways import AnewError, Done, Way, may_be_of_order, other_way
from .wire import Refused, Session

#: what one transaction may weigh; a statement that makes something weighs ten, for it keeps locks
#: until the commit, and a server has room for some thousands (max_locks_per_transaction)
_TRANSACTION_WEIGHT = 1000
_LIGHT, _HEAVY = 1, 10
#: as pg_dump writes it: every name in a dump is in full
_NO_PATH = b"SELECT pg_catalog.set_config('search_path', '', false);"
_LIGHT_WORDS = (b"INSERT", b"SELECT")
#: SQLSTATE: a foreign key points to a row that is not there
_NO_PARENT = "23503"
#: SQLSTATE: two sessions waited for each other
_DEADLOCK = "40P01"
#: Takes a lock on an index, and none on its table that keeps a VACUUM away. One has the table's and
#: waits for the index's then, so who wanted the table's too would wait for ever: autovacuum comes
#: to every table that was loaded.
_ALTERS_INDEX = b"ALTER INDEX "
_LARGE_OBJECT = b"SELECT pg_catalog.lowrite("
#: what pg_dump writes between the rows of tables, and what needs none of them
_NEEDS_NO_ROWS = b"SELECT pg_catalog.setval("
#: seconds after which foreign keys that were looked through were long
_LONG_KEYS = 0.1
#: sessions that load rows where there is a helper
_LOADERS = 2
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


@dataclasses.dataclass
class _Coming:
    """Rows of which it is not known yet how many they are."""

    table: bytes
    text: bytes
    line: int
    held: bytearray = dataclasses.field(default_factory=bytearray)
    #: they go where they wait until there are indexes
    waits: bool = False


class Comparison(Protocol):
    """Who is told what is written, see :class:`.early.EarlyComparison`."""

    def offer(self, name: str, facts: TableFacts, identity: bytes, encoding: str) -> None: ...

    def indexed(self) -> None: ...

    def hold(self, held: bool) -> None: ...

    def written(self, oids: bytes | None, own: bytes = b"") -> None: ...

    def forget(self) -> None: ...

    @property
    def oids(self) -> bytes: ...

    def ended(self, identities: bytes | None) -> None: ...


class Helper(Protocol):
    """Who loads the rows of some tables meanwhile, see :class:`.helper.RowsAside`."""

    @property
    def tables(self) -> Collection[str]: ...

    def begin(self, state: bytes, encoding: str) -> None: ...

    def wait(self) -> Mapping[str, Inspector]: ...

    def tell(self, comparison: Comparison) -> None: ...


class Load:
    """A dump on its way into a database; a context manager, after which the connection is gone and
    what was not committed is rolled back.

    Many rows of a table come in a transaction of their own, in which the table is made new: see
    :mod:`.row_order`. Where it cannot be, its rows are hashed in any order.

    :param transaction: one transaction that only :meth:`finish` ends well; else several, each of so
        many statements that the server's locks suffice.
    :param cleaning: the dump is a script's, and may ask for some things in vain: see
        :class:`InVain`.
    :param superusers: roles that nobody should be told to grant.
    :param ways: what is done otherwise than the dump says.
    :param chosen: only the rows of these tables are loaded, and all definitions; :attr:`kept` gets
        their names, :attr:`left_out` the foreign keys that point to rows which are not there.
    :param part: it is of a part of a database; :attr:`left_out` gets what leans on the rest.
    :param effort: how much of the server it takes. With several sessions, indexes of different
        tables are built side by side; not in one transaction, of which others see nothing.
    :param comparison: tables with many rows are offered to it as soon as these are in. It is told
        all that may change them afterwards; a dump of ours alone, loaded whole and in several
        transactions, may have one.
    :param beside: by how much this process may grow meanwhile for other reasons, bytes.
    :param helper: loads the rows of these tables, of which nothing but the statement before them
        and their end is fed; begun with the first rows, and waited for before whatever might need
        them. Where a load with one fails of what may be a matter of order, a new one could do it.
    :param look: called while it waits, several times a second; what it raises ends the wait.
    :ivar built_aside: how many statements other sessions have done.
    :raises AnewError: from every method: a new load could do it, otherwise.
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
        ways: frozenset[Way] = frozenset(),
        part: bool = False,
        chosen: Chosen | None = None,
        effort: Effort = GENTLE,
        beside: int = 0,
        comparison: Comparison | None = None,
        helper: Helper | None = None,
        look: Callable[[], None] = signals.look,
    ) -> None:
        self._helper, self._helped, self._look = helper, False, look
        self._comparison = comparison
        self._settings, self._effort, self._beside = settings, effort, beside
        #: statements that wait for others which may be done at once with them, and their bytes
        self._held: list[Statement] = []
        self._held_bytes = self.built_aside = 0
        self._alone = effort.sessions < 2  # nobody else can do what this session does
        self.guard = Guard(self)
        if comparison:
            self.guard.frame = Frame()
        self._user, self._superusers = settings.db_user, superusers
        self._undivided, self._in_vain = transaction, InVain(cleaning, part)
        #: statements that could not be made without what is not loaded
        self.left_out: list[str] = []
        self.kept: set[str] = set()
        self._database, self._chosen = database, chosen
        self._passing = False  # rows that nobody wants
        self._filled = "", b""  # the table of the last rows, decoded and as it stands there
        self._connecting = connect(settings, database)
        self._open = False  # a transaction
        self._theirs = False  # the dump has begun one of its own
        self._locks_index = False  # the last statement does, see _ALTERS_INDEX
        self._weight = self._bytes = 0
        self._coming: _Coming | None = None
        self._ways, self._one_by_one = ways - {Way.ONE_BY_ONE}, Way.ONE_BY_ONE in ways
        self._otherwise: Otherwise | None = None
        self._pathless = False  # the dump has emptied search_path
        self._indexed = False  # foreign keys have begun
        #: how many have come since the last commit, since when, and after how many the next is
        self._keys, self._keys_since, self._keys_at_once = 0, 0.0, 1

    def __enter__(self) -> Load:
        connection = self._connecting.__enter__()
        self._session = Session(connection, self._look, self._beside)
        self._refreshes = Refreshes(self._session, self.guard.decode)
        self._major = connection.info.server_version // 10_000
        if self._ways:
            self._otherwise = Otherwise(self._session, self._ways, self._major, self.guard.decode)
        try:
            self.send(_SETTINGS)
            if self._effort.memory_kb:
                self.send(self._effort.statements)
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
            self._rejoin()
            self._release()
            self._sync()
            self._session.run(statements)
        except Refused as refused:
            raise self._explained(refused) from None
        strings = self._session.reported("standard_conforming_strings") == "on"
        self.guard.reads(self._session.reported("client_encoding"), strings)

    def inspect(self) -> Report:
        """The dump has ended: what it was."""
        try:
            self._rejoin()
            report = self.guard.finish()
            if report.complete:
                self._release()
            if self._otherwise and report.complete:
                self._begin()
                self._sync()
                self._otherwise.finish()
            return report
        except Refused as refused:
            raise self._explained(refused) from None

    @property
    def done(self) -> Done:
        """What was done otherwise than the dump says."""
        return self._otherwise.done if self._otherwise else Done()

    def finish(self) -> None:
        """Wait until the server has done everything, and commit it."""
        if self._theirs:
            raise _refusal(
                "TRANSACTION_STATEMENT", "it begins a transaction that it does not commit"
            )
        try:
            self._release()
            self._sync()
            if self._open:
                self._session.send(b"SET LOCAL synchronous_commit = on")
                self._commit()
            self._sync()
            if self._comparison:
                self._session.send(early.IDENTITIES, 0, [self._comparison.oids])
                self._comparison.ended(self._session.sync())
        except Refused as refused:
            raise self._explained(refused) from None

    @property
    def unfilled(self) -> list[Unfilled]:
        """Materialized views that were left empty."""
        return self._refreshes.unfilled

    # what the guard hands on

    def statement(self, statement: Statement) -> None:
        """Send it; now and then look how those before it went."""
        self._require_tables()
        if not statement.text.startswith(_NEEDS_NO_ROWS):
            self._rejoin()
        if self._is_needless(statement.text):
            return
        if self._comparison and not early.leaves_rows(statement.text):
            self._comparison.forget()
        states = self._in_vain.states(statement.text)
        if self._chosen and adds_key(statement.text):
            states = (*states, _NO_PARENT)
        if states:
            self._release()
            self._try(statement, states)
        elif self._comparison and adds_key(statement.text):
            self._release()
            self._before_key(self._comparison)
            self._execute(statement)
        elif self._may_wait(statement.text):
            self._held.append(statement)
            self._held_bytes += len(statement.text)
            if self._held_bytes > side_by_side.MOST_BYTES:
                self._release()
        else:
            self._release()
            self._execute(statement)

    def _before_key(self, comparison: Comparison) -> None:
        """All rows and indexes are there, and foreign keys are looked through. Who waits meanwhile
        for a lock on their tables gets it: after each that takes long, else after several.
        """
        if not self._indexed:
            self._indexed = True
            self._sync()
            if self._divided:
                self._commit()
                self._sync()
            comparison.indexed()
            self._keys_since = time.monotonic()
        elif self._divided and self._keys >= self._keys_at_once:
            self._commit()  # waits for them
            took = time.monotonic() - self._keys_since
            self._keys_at_once = 1 if took > _LONG_KEYS else self._keys_at_once * 2
            self._keys, self._keys_since = 0, time.monotonic()
        self._keys += 1

    def _execute(self, statement: Statement) -> None:
        alters_index = statement.text.startswith(_ALTERS_INDEX)
        if self._locks_index and not alters_index and self._divided:
            self._commit()
        self._locks_index = alters_index
        self._begin()
        self._alone = self._alone or side_by_side.sets_untold(statement.text)
        if self._otherwise and self._pathless:
            self._otherwise.before(statement.text)
        if is_refresh(statement.text):
            self._sync()
            self._refreshes.run(statement)
        else:
            self._session.send(statement.text, statement.line)
        self._pathless = self._pathless or statement.text == _NO_PATH
        self._weight += _LIGHT if statement.text.startswith(_LIGHT_WORDS) else _HEAVY
        self._bytes += len(statement.text)
        self._rest()

    def _may_wait(self, statement: bytes) -> bool:
        """Whether a statement may be done at once with others like it, by another session."""
        return (
            not self._alone
            and self._divided
            and self._otherwise is None
            and side_by_side.table_of(statement) != b""
        )

    def _release(self) -> None:
        """Do what waits; where it is not worth other sessions, or these did not do it, here."""
        held, self._held, self._held_bytes = self._held, [], 0
        if not held:
            return
        if self._is_worth_it(held) and (state := self._told()):
            encoding = self._session.reported("client_encoding")
            aside = side_by_side.SideBySide(
                self._settings, self._database, self._effort, state, encoding, self.guard.bytes_of
            )
            aside.beside = self._beside
            if self._comparison:
                aside.busy = self._comparison.hold
            left = aside.build(held)
            if self._comparison:
                self._comparison.written(aside.written)
            self.built_aside += len(held) - len(left)
            held = left
        for statement in held:
            self._execute(statement)

    def _is_worth_it(self, held: list[Statement]) -> bool:
        tables = {side_by_side.table_of(statement.text) for statement in held}
        return len(tables) > 1 and (
            len(held) >= side_by_side.WORTH_STATEMENTS
            or sum(map(self.guard.bytes_of, tables)) >= side_by_side.WORTH_BYTES
        )

    def _told(self) -> bytes | None:
        """Commit, so that other sessions see what there is, and ask what they must be told; None:
        they cannot do what this one does.
        """
        self._sync()
        self._commit()
        self._session.send(side_by_side.STATE)
        return self._session.sync()

    def _is_needless(self, text: bytes) -> bool:
        """Where only some tables are wanted: what fills others, or large objects."""
        return self._chosen is not None and (is_refresh(text) or text.startswith(_LARGE_OBJECT))

    def wants(self, table: str) -> bool:
        """Whether the rows of a table are wanted. All are where that cannot be seen: within a
        transaction of the dump's own nobody else sees its definitions.

        :param table: as the dump writes it.
        :raises DatabaseError: as from :meth:`feed`.
        """
        try:
            return self._wants(table)
        except Refused as refused:
            raise self._explained(refused) from None

    def _wants(self, table: str) -> bool:
        if self._chosen is None:
            return True
        if not self._chosen.found:
            self._release()
            if not self._divided:
                self._chosen = None
                return True
            self._sync()
            self._commit()
            self._sync()
            self._chosen.find(self._database)
        return self._chosen.has(table)

    def _require_tables(self) -> None:
        """:raises BadBackupError: a script's dump has rows, and makes nothing to hold them."""
        if self._in_vain.cleaning and self.guard.rows_alone:
            raise rows_alone(self.guard.rows_alone)

    def transaction(self, begins: bool) -> None:
        """The dump's own transaction is a part of ours, which does not end before it: large objects
        are open as long as theirs lasts.
        """
        self._rejoin()
        self._release()
        self._theirs = begins
        self._rest()

    def copy(self, header: CopyHeader, text: bytes, line: int) -> None:
        """Rows of a table are to come: whether few or many shows as they do."""
        self._require_tables()
        self._in_vain.begins_to_make()
        self._release()
        table = self.guard.current_table
        self._filled = table, header.table
        if self._helper and not self._helped:
            self._ask_for_help(self._helper)
        self._passing = self._is_helped_with(table) or not self._wants(table)
        if self._passing:
            return
        self.kept.add(table)
        if self._otherwise and self._pathless:
            self._begin()
            self._sync()
            if waiting := self._otherwise.stage(header, line):
                self._coming = _Coming(header.table, waiting, line, waits=True)
                return
        self._coming = _Coming(header.table, text, line)

    def rows(self, data: bytes) -> None:
        """Rows of that table."""
        if self._passing:
            return
        coming = self._coming
        if coming is None:
            self._session.rows(data)
            return
        coming.held += data
        if len(coming.held) > row_order.FEW_BYTES:
            self._coming = None
            self._begin_many(coming)

    def copy_end(self) -> None:
        """The end of the rows."""
        if self._passing:
            self._passing = False
            return
        coming, self._coming = self._coming, None
        if coming is not None:
            self._copy_few(coming)
            return
        self._session.copy_end()
        self._require_transaction()
        self._copied()
        if self._divided:
            identity = self._identity()
            self._commit(identity.partition(b" ")[0])
            if identity and self._comparison:
                name, _ = self._filled
                facts = self.guard.facts_of(name)
                self._sync()
                self._comparison.offer(name, facts, identity, self.guard.encoding)

    def _identity(self) -> bytes:
        """Of a table whose rows are in, where it may be compared; else empty."""
        name, table = self._filled
        if self._comparison is None or self._otherwise:
            return b""
        if self.guard.bytes_of(table) < early.WORTH_BYTES or self.guard.facts_of(name).any_order:
            return b""
        self._sync()
        self._session.send(early.IDENTITY, 0, [table])
        return self._session.sync() or b""

    # rows that somebody else loads

    def _ask_for_help(self, helper: Helper) -> None:
        """All tables are there: others see them from now on."""
        self._helped = True
        state = self._told() if self._divided else None
        if state is None:
            why = "Another session cannot be told what this one was"
            error = DatabaseError(why, "Nothing to do: one session loads everything then")
            raise AnewError(error, Way.ONE_BY_ONE)
        if self._comparison:
            self._comparison.hold(self._effort.is_filled_by(_LOADERS))
        helper.begin(state, self._session.reported("client_encoding"))

    def _is_helped_with(self, table: str) -> bool:
        return self._helper is not None and table in self._helper.tables

    def _rejoin(self) -> None:
        """Wait for whoever helps: what comes next may need the rows."""
        helper = self._helper
        if not (helper and self._helped):
            return
        # it may wait for a lock of ours, and no server sees the circle
        self._sync()
        self._commit()
        self._sync()
        for table, passed in helper.wait().items():
            self.guard.passed_elsewhere(table, passed)
        self._helper = None
        if self._comparison:
            helper.tell(self._comparison)

    def _copied(self) -> None:
        if self._otherwise:
            self._otherwise.staged()

    def _begin_many(self, coming: _Coming) -> None:
        """In a transaction of their own."""
        self._sync()
        if self._divided:
            self._commit()
        self._begin()
        text = coming.text
        if coming.waits:
            self.guard.in_any_order(bytes(coming.held))
        elif self._divided:
            if row_order.made_new(self._session, coming.table, coming.line):
                text += row_order.FROZEN
            else:
                self.guard.in_any_order(bytes(coming.held))
        self._session.copy(text, coming.line)
        self._session.rows(bytes(coming.held))

    def _copy_few(self, coming: _Coming) -> None:
        """All of them at once, among others."""
        self._begin()
        self._sync()
        table, line, rows = coming.table, coming.line, bytes(coming.held)
        self._copy_whole(coming.text, line, rows)
        if coming.waits:
            self.guard.in_any_order(rows)
        elif self._divided and rows and not row_order.in_one_page(self._session, table, line):
            if row_order.made_new(self._session, table, line, rows.count(b"\n")):
                self._copy_whole(coming.text, line, rows)
            else:
                self.guard.in_any_order(rows)
        self._copied()
        self._weight += _HEAVY
        self._rest()

    def _copy_whole(self, text: bytes, line: int, rows: bytes) -> None:
        self._session.copy(text, line)
        self._session.rows(rows)
        self._session.copy_end()
        self._require_transaction()

    # transactions

    @property
    def _divided(self) -> bool:
        """A transaction may end here and another begin."""
        return not (self._undivided or self._theirs)

    def _begin(self) -> None:
        if not self._open:
            self._session.send(b"BEGIN")
            self._open, self._weight = True, 0

    def _commit(self, own: bytes = b"") -> None:
        """On its way; what comes next may follow at once.

        :param own: the number of the table whose rows have just come.
        """
        if self._open:
            if self._comparison:
                self._session.send(early.WRITTEN)
                self._comparison.written(self._session.sync(), own)
            self._session.send(b"COMMIT")
            self._open = False

    def _rest(self) -> None:
        """Look how it went, and commit, when enough has been sent."""
        if self._weight >= _TRANSACTION_WEIGHT or self._bytes >= _SYNC_BYTES:
            self._sync()
            if self._divided:
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
        part = not self._divided
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
            if self._in_vain.part or self._chosen:
                self.left_out.append(self.guard.decode(statement.text))
        if part:
            self._session.send(b"RELEASE SAVEPOINT postgres_backup")

    def _explained(self, refused: Refused) -> Exception:
        message = self.guard.decode(refused.message)
        majors = self.guard.server_major, self._major
        error = explained(refused, message, self._user, self._superusers, *majors)
        way = other_way(refused, self._ways) if self._pathless else None
        helped = self._helper and self._helped and may_be_of_order(refused)
        # whoever it was (an autovacuum, a monitoring program) may be done by then
        met = refused.sqlstate == _DEADLOCK and not self._undivided and not self._one_by_one
        if helped or met:
            way = Way.ONE_BY_ONE
        return AnewError(error, way) if way else error


def _refusal(code: str, cause: str) -> BadBackupError:
    return BadBackupError(
        f"Failed to load the dump: {cause}",
        "pg_dump writes no such dump. If you trust it, load it by hand into a server of its own.",
        [finding(code, f"{cause[0].upper()}{cause[1:]}.")],
    )
