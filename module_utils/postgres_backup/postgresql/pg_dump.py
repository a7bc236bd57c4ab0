"""pg_dump as an inspected stream: bytes go by once, are read by the inspector, and never touch a
disk.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
import threading
from collections.abc import Callable, Collection, Generator, Iterator, Sequence

from ..errors import DatabaseError, UsageError
from ..machine import signals
from ..machine.carried import Carried
from ..stream.frame import Frame
from ..stream.inspector import Inspector, Report
from .programs import Process, Programs

#: bytes read at once; also asked of the kernel as the pipe's size, so that pg_dump does not wait
#: for us at every 64 KiB
CHUNK = 1 << 20
#: how long pg_dump waits for tables that somebody has locked; for ever would be a backup that
#: silently never ends
LOCK_WAIT = "30min"
#: what helps where a standby had to go on
CONFLICT_HINT = (
    "This server is a standby, and what its primary did (a VACUUM, a lock) ended the dump. Try "
    "again; where it lasts, raise max_standby_streaming_delay (and max_standby_archive_delay) on "
    "it, set hot_standby_feedback = on, or back up from the primary"
)


class Dump:
    """One run of pg_dump.

    :param tables: patterns as for ``pg_dump --table``; empty: the whole database.
    :param snapshot: an exported snapshot that this dump must show; empty: its own.
    :param encoding: that it is written in: the database's own, in which no letter is lost; empty:
        what role or database have as ``client_encoding``.
    :param unordered: tables whose rows are hashed in any order too.
    :param rows_alone: no definitions.
    :param without_rows: tables, as :class:`Report` names them, of which only the definitions are
        dumped; the report has a ``frame_sha256`` then.
    :param lock_wait: how long it waits for tables that somebody has locked, as PostgreSQL writes
        times; without a unit milliseconds; empty: :data:`LOCK_WAIT`.
    """

    def __init__(
        self,
        programs: Programs,
        database: str,
        format: str = "plain",
        snapshot: str = "",
        tables: Sequence[str] = (),
        schema_only: bool = False,
        encoding: str = "",
        unordered: Collection[str] = (),
        rows_alone: bool = False,
        without_rows: Collection[str] = (),
        lock_wait: str = "",
    ) -> None:
        self.programs, self.database, self.format = programs, database, format
        self._encoding = encoding
        self.inspector = Inspector()
        self.inspector.unordered = frozenset(unordered)
        if without_rows:
            self.inspector.frame = Frame()
        self._process: Process | None = None
        self._stopped = False
        self._arguments = [
            f"--format={format}",
            f"--lock-wait-timeout={lock_wait or LOCK_WAIT}",
            "--strict-names",
        ]
        if format == "custom":
            self._arguments.append("--compress=1")
        if snapshot:
            self._arguments.append(f"--snapshot={snapshot}")
        self._arguments += [f"--table={table}" for table in tables]
        self._arguments += [f"--exclude-table-data={table}" for table in without_rows]
        self._arguments += ["--schema-only"] * schema_only + ["--data-only"] * rows_alone

    def chunks(self) -> Generator[bytes, None, None]:
        """The dump as it comes.

        :raises DatabaseError: pg_dump did not end with 0, or it did, but what came is no whole
            dump.
        """
        with self.programs.start(
            "pg_dump",
            self.database,
            *self._arguments,
            stdout=subprocess.PIPE,
            encoding=self._encoding,
        ) as process:
            self._process = process
            if self._stopped:
                process.child.terminate()
            if self.format == "plain":
                for chunk in _read(process):
                    self.inspector.feed(chunk)
                    yield chunk
            else:
                yield from self._archive(process)
            _check(process, self.programs.settings.db_user)
        self.report: Report = self.inspector.finish()
        if not self.report.complete:
            raise DatabaseError(
                f"The dump of {self.database} is not whole, though pg_dump reported success",
                "Try again; then look at the server's log",
                self.report.findings,
            )

    def stop(self) -> None:
        """End it, whatever it is at: for another thread than that which takes the chunks."""
        self._stopped = True
        if self._process:
            self._process.child.terminate()

    def _archive(self, process: Process) -> Iterator[bytes]:
        """A custom archive cannot be read as it stands, so pg_restore turns a copy of the stream
        into the plain dump that the inspector knows.
        """
        with ArchiveReader(self.programs, self.inspector.feed) as reader:
            for chunk in _read(process):
                reader.write(chunk)
                yield chunk
            reader.finish()


class ArchiveDamagedError(DatabaseError):
    """pg_restore could not read an archive to its end."""


class ArchiveReader:
    """pg_restore from a stream of a custom archive to a plain dump.

    :param sink: takes the plain dump, chunk by chunk, in a thread of its own.
    """

    def __init__(self, programs: Programs, sink: Callable[[bytes], object]) -> None:
        self._argv = [os.path.join(programs.directory, "pg_restore"), "--file=-"]
        if programs.settings.db_container:
            self._argv = ["docker", "exec", "-i", programs.settings.db_container, *self._argv]
        self._process = Process(
            "pg_restore",
            self._argv,
            programs.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._sink, self._failure = sink, Carried()
        self._thread = threading.Thread(target=self._drain, name="pg_restore-stdout", daemon=True)
        with signals.hold:
            self._thread.start()

    def _drain(self) -> None:
        with self._failure:
            for chunk in _read(self._process):
                self._sink(chunk)
        if self._failure.error is not None:
            self._process.stdout.close()

    def write(self, chunk: bytes) -> None:
        self._failure.check()
        try:
            write_all(self._process.stdin.fileno(), chunk)
        except BrokenPipeError:
            self._thread.join()
            self._failure.check()
            self._check()
            raise DatabaseError(
                "pg_restore stopped reading the archive", "Choose another: postgres-backup list"
            ) from None

    def finish(self) -> None:
        """Wait until all of it has gone through.

        :raises ArchiveDamagedError: pg_restore found the archive damaged.
        """
        self._process.stdin.close()
        self._thread.join()
        self._failure.check()
        self._check()

    def _check(self) -> None:
        try:
            self._process.check()
        except DatabaseError as error:
            raise ArchiveDamagedError(error.message, error.hint) from None

    def __enter__(self) -> ArchiveReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.end()
        self._thread.join()


class VanishedError(DatabaseError):
    """Something of the snapshot was dropped before pg_dump had its lock on it: a new snapshot does
    not show it.
    """

    def __init__(self, message: str) -> None:
        super().__init__(
            message,
            "Something drops tables while the backup begins: let it do so at another time, "
            "or move the backup (backup_schedule_time). Where nothing does, the catalog is "
            "damaged: see the server's log",
        )


def _check(process: Process, user: str) -> None:
    """:raises VanishedError: see there.
    :raises DatabaseError: pg_dump did not end with 0; with what the server said, and a hint for
        the few causes that have a known way out.
    """
    try:
        process.check()
    except DatabaseError as error:
        said = process.complaints
        detail = next(
            (
                line.partition("Error message from server: ")[2]
                for line in said.splitlines()
                if "detail: " in line
            ),
            "",
        )
        error.message += f" ({detail})" if detail else ""
        hint = next((hint for known, hint in _HINTS.items() if known in said), "")
        error.hint = hint.replace("<user>", user) or error.hint
        if any(word in said for word in _NOBODYS):
            raise UsageError(error.message, hint or _HINTS[_NOBODYS[0]]) from None
        error.passes = error.passes or any(word in said for word in _PASSES)
        if _VANISHED.search(said) and not hint:
            raise VanishedError(error.message) from None
        raise


#: what the server says of an object that is in a snapshot and was dropped since: LOCK TABLE, and
#: its own functions that look things up by number
_VANISHED = re.compile(
    r"ERROR:  (?:(?:relation|schema|function|type|sequence) .* does not exist"
    r"|could not open relation with OID \d+|cache lookup failed for )"
)
#: what the server says of a cause that may pass: it restarts, somebody holds a lock, a standby
#: must go on with what its primary did
_PASSES = (
    "server closed the connection",
    "terminating connection",
    "Connection refused",
    "no response",
    "could not receive data from server",
    "SSL SYSCALL error",
    "SSL connection has been closed",
    "the database system is ",
    "canceling statement due to statement timeout",
    "canceling statement due to lock timeout",
    "canceling statement due to user request",
    "conflict with recovery",
    "deadlock detected",
    "too many clients already",
    "remaining connection slots are reserved",
    "out of memory",
)
#: what pg_dump says of patterns that name no table: whoever typed them is asked again
_NOBODYS = ("no matching tables were found", "improper relation name", "improper qualified name")
_HINTS = {
    "max_locks_per_transaction": (
        "pg_dump locks every table at once, and the server has room for fewer: raise "
        "max_locks_per_transaction in its postgresql.conf (64 is the default) and restart it"
    ),
    "canceling statement due to statement timeout": (
        f"A table was locked for {LOCK_WAIT}: see who holds it in pg_stat_activity and pg_locks, "
        "then try again"
    ),
    "no matching tables were found": (
        "Patterns are those of pg_dump --table: schema.table, and names with capitals in double "
        "quotes: 'public.\"Users\"'"
    ),
    # PostgreSQL's own advice to an owner: he is bound because the table says FORCE
    "NO FORCE ROW LEVEL SECURITY": (
        "The table's FORCE ROW LEVEL SECURITY binds its owner too, and would hide rows from the "
        'backup. As a superuser: ALTER ROLE "<user>" BYPASSRLS;'
    ),
    "row-level security": (
        'The user of the backup may not see all rows. As a superuser: ALTER ROLE "<user>" '
        "BYPASSRLS; or back up as the owner of the tables"
    ),
    "permission denied": (
        "The user of the backup must be the owner, or may read everything: "
        "GRANT pg_read_all_data TO <user>"
    ),
    "conflict with recovery": CONFLICT_HINT,
    "server closed the connection": "The server went away: look at its log",
}


def _read(process: Process) -> Iterator[bytes]:
    handle = process.stdout.fileno()
    try:
        fcntl.fcntl(handle, fcntl.F_SETPIPE_SZ, CHUNK)
    except OSError:
        # over the user's share of pipe memory (fs.pipe-user-pages-soft); a small pipe is only
        # slower
        os.set_blocking(handle, True)
    while data := os.read(handle, CHUNK):
        yield data


def write_all(handle: int, data: bytes) -> None:
    """Write every byte of ``data`` to a descriptor (a pipe takes less than all of it at a time)."""
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def dump_globals(programs: Programs, database: str, passwords: bool) -> bytes:
    """Roles, memberships and settings as ``pg_dumpall --globals-only`` writes them, their names
    byte by byte as the server has them (those of roles are in no known encoding).

    :param passwords: include the roles' password hashes, which only a superuser may read.
    :raises DatabaseError: pg_dumpall failed.
    """
    arguments = ["--globals-only"] + ([] if passwords else ["--no-role-passwords"])
    with programs.start(
        "pg_dumpall", database, *arguments, stdout=subprocess.PIPE, encoding="SQL_ASCII"
    ) as process:
        text = b"".join(_read(process))
        process.check()
    if b"PostgreSQL database cluster dump complete" not in text:
        raise DatabaseError(
            "pg_dumpall reported success, but its output has no end",
            "Try again; then look at the server's log",
        )
    return text
