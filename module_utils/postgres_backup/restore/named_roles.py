"""Every role that a dump names, for dumps of which no manifest has noted them: whoever makes the
one that a load stopped at should not meet the next only then.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from psycopg import sql

from ..errors import BadBackupError, DatabaseError
from ..job import Job
from ..postgresql.connection import connect_maintenance
from ..stream.grammar import CopyHeader
from ..stream.guard import Guard, Statement
from ..verify.reader import BackupReader
from .plan import Plan
from .roles import missing

_ID = rb'(?:"(?:[^"]|"")+"|[A-Za-z_\x80-\xff][\w$\x80-\xff]*)'
#: as pg_dump writes them, of all versions; a statement is one line but for policies
_NAMING = [
    re.compile(pattern.replace(b"ID", _ID), re.DOTALL)
    for pattern in (
        rb"ALTER .* OWNER TO (ID);",
        rb"(?:ALTER DEFAULT PRIVILEGES .*)?GRANT .* TO (ID)(?: WITH GRANT OPTION)?;",
        rb"(?:ALTER DEFAULT PRIVILEGES .*)?REVOKE .* FROM (ID);",
        rb"ALTER DEFAULT PRIVILEGES FOR ROLE (ID) .*",
        rb"SET SESSION AUTHORIZATION '?(ID)'?;",
        rb"CREATE USER MAPPING FOR (ID) .*",
        rb"CREATE POLICY .*? TO (ID(?:, ID)*)(?: USING .*| WITH CHECK .*|;)",
    )
]
_ONE = re.compile(_ID)
#: words in the place of a role
_NO_ROLES = (b"PUBLIC", b"DEFAULT", b"CURRENT_USER", b"CURRENT_ROLE", b"SESSION_USER")
#: roles that a message names
_NAMED = 100


class Names:
    """A sink of a guard's that notes the roles of what passes.

    :ivar roles: as the dump has them, in its encoding.
    """

    def __init__(self) -> None:
        self.roles: set[bytes] = set()

    def statement(self, statement: Statement) -> None:
        text = statement.text.strip()
        for naming in _NAMING:
            if found := naming.fullmatch(text):
                self.roles.update(
                    name[1:-1].replace(b'""', b'"') if name.startswith(b'"') else name
                    for name in _ONE.findall(found[1])
                    if name not in _NO_ROLES
                )

    def transaction(self, begins: bool) -> None:
        """Nothing is run."""

    def copy(self, header: CopyHeader, text: bytes, line: int) -> None:
        """Rows name no roles."""

    def rows(self, data: bytes) -> None:
        """Nor do these."""

    def copy_end(self) -> None:
        """Nor this."""


@contextlib.contextmanager
def all_missing_named(job: Job, plan: Plan) -> Iterator[None]:
    """Where a load stops at a role that is missing, the dump is read once more, and all of them are
    told.
    """
    try:
        yield
    except DatabaseError as error:
        # in every language of the server's: something with a name is not there
        # (version 0.1.0 noted no role of initdb's)
        known = plan.backup.manifest is not None and "rights" in plan.backup.manifest
        if known or "(SQLSTATE 42704)" not in error.message:
            raise
        lacking = _missing(job, plan)
        if len(lacking) < 2:
            raise
        more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
        statements = [
            sql.SQL("CREATE ROLE {};").format(sql.Identifier(role)).as_string(None)
            for role in lacking[:_NAMED]
        ]
        raise DatabaseError(
            f"The server lacks the roles {', '.join(lacking[:_NAMED])}{more}, which the dump names "
            f"({error.message})",
            "As a superuser: " + " ".join(statements),
        ) from None


def _missing(job: Job, plan: Plan) -> list[str]:
    job.progress.phase(f"looking for the roles that {plan.name} names")
    names = Names()
    guard = Guard(names)
    with contextlib.suppress(BadBackupError):  # those up to there are something
        BackupReader(job, plan.backup, plan.tools).feed(guard.feed)
    roles = sorted({guard.decode(role) for role in names.roles})
    with connect_maintenance(job.settings, plan.database) as connection:
        return missing(connection, roles)
