"""A plain dump into a database through psql, stopping at the first error.

What psql is given has passed the guard first: nothing in a dump can lead out of the database that
is being loaded.
"""

from __future__ import annotations

import re
import subprocess

from ..errors import DatabaseError
from ..stream.inspector import Report
from ..stream.load_guards import LAX, Placing, Undivided
from .pg_dump import write_all
from .programs import Programs


class Load:
    """One psql at work; a context manager, after which it is gone.

    :param transaction: one transaction that only :meth:`finish` ends well; else each statement
        stands for itself.
    :param cleaning: see :class:`Placing`.
    :param superusers: roles that nobody should be told to grant.
    """

    def __init__(
        self,
        programs: Programs,
        database: str,
        transaction: bool = False,
        cleaning: bool = False,
        superusers: tuple[str, ...] = (),
    ) -> None:
        # restricted, psql would not take our commands either; the guard lets no command of the
        # dump's through anyway
        drop_restrict = cleaning or not programs.knows_restrict
        self.guard = Undivided(drop_restrict) if transaction else Placing(drop_restrict, cleaning)
        self._transaction, self._user, self._superusers = (
            transaction,
            programs.settings.db_user,
            superusers,
        )
        # results of SELECT setval() are of no interest; commits need not wait for the disk: the
        # swap that makes them count does
        self._process = programs.start(
            "psql",
            database,
            "--no-psqlrc",
            "--quiet",
            "--set=ON_ERROR_STOP=1",
            "--output=/dev/null",
            "--file=-",
            stdin=subprocess.PIPE,
        )
        self.send(
            b"SET synchronous_commit = off;\n"
            + (b"BEGIN;\n" if transaction else LAX if cleaning else b"")
        )

    def send(self, statements: bytes) -> None:
        """Statements of our own, past the guard.

        :raises DatabaseError: psql has stopped.
        """
        try:
            write_all(self._process.stdin.fileno(), statements)
        except BrokenPipeError:
            self._explain()
            raise DatabaseError(
                "Failed to load the dump: psql stopped reading it",
                "The database server's log has more",
            ) from None

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
        self._process.stdin.close()
        self._explain()

    def _explain(self) -> None:
        """:raises DatabaseError: psql did not end with 0; with what PostgreSQL said and what can be
        done about it.
        """
        status = self._process.wait()
        if status == 0:
            return
        lines = self._process.complaints.splitlines()
        errors = [
            number
            for number, line in enumerate(lines)
            if re.search(r"\b(ERROR|FATAL|PANIC|error):", line)
        ]
        said = (
            re.sub(r"^psql:.*?:(?=\d+:)", "line ", lines[errors[-1]].strip())
            if errors
            else self._process.complaints[-300:]
        )
        # its details may hold rows, which belong in no log of ours; they only choose the hint
        details = " ".join(lines[errors[-1] + 1 :]) if errors else ""
        raise DatabaseError(
            f"Failed to load the dump: {said or f'psql ended with {status}'}",
            self._hint(f"{said} {details}"),
        )

    def _hint(self, said: str) -> str:
        for pattern, hint in _HINTS:
            match = re.search(pattern, said)
            if match and not (hint is _GRANT and match[1] in self._superusers):
                return hint.format(*match.groups(), user=self._user)
        return "The database server's log has more"

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.end()


_GRANT = 'As a superuser: GRANT "{0}" TO "{user}";'
_HINTS = (
    (r'role "(.+?)" does not exist', 'Create it first: CREATE ROLE "{0}";'),
    (
        r'extension "(.+?)" is not available',
        "Install the package that brings the extension {0} on the database server",
    ),
    (
        r'permission denied to create extension "(.+?)"',
        "Only a superuser may create {0}: restore as one (backup_db_user)",
    ),
    (r'must be (?:able to SET ROLE|member of role) "(.+?)"', _GRANT),
    (
        r'permission denied to set session authorization "(.+?)"',
        (
            "What {0} granted can be granted again by a superuser only: "
            "restore as one (backup_db_user)"
        ),
    ),
    (
        r'tablespace "(.+?)" does not exist',
        "Make it on the database server: CREATE TABLESPACE \"{0}\" LOCATION '...';",
    ),
    (
        r'collation "(.+?)" for encoding',
        (
            "The server's operating system lacks the locale of {0}: "
            "install it, restart PostgreSQL, try again"
        ),
    ),
    (r"No space left on device", "The database server's disk is full: make room there"),
    (
        r"out of shared memory",
        "Raise max_locks_per_transaction in the server's postgresql.conf and restart it",
    ),
    (
        r"due to lock timeout",
        (
            "Somebody holds a lock in the database for a minute: stop the application, "
            "end prepared transactions, then try again"
        ),
    ),
    (
        r"cannot (?:run|be executed) inside a transaction block|DROP SUBSCRIPTION",
        "This cannot be done in place: restore beside the live database",
    ),
    (
        r'unrecognized configuration parameter "(.+?)"',
        (
            "The backup was made by a newer PostgreSQL than this server: "
            "restore into that version or newer"
        ),
    ),
    (
        r"permission denied|must be |only superusers",
        "{user} lacks a right that the backup takes: restore as a superuser (backup_db_user)",
    ),
    (
        r"server closed the connection|terminating connection|connection to server",
        "The database server ended the connection: see its log, then try again",
    ),
)
