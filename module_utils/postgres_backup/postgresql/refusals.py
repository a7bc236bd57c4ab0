"""What a connection that was refused says to a person, and what to check."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence

from ..errors import DatabaseError, PoolerError
from ..settings import Settings
from . import session

#: the setting's name is in no language but its own
NO_ROOM_FOR_LOCKS = (
    "The server's room for locks is full: raise max_locks_per_transaction in its postgresql.conf "
    "(64 is the default) and restart it"
)


class RefusedError(DatabaseError):
    """A server that lets us not in.

    :ivar sqlstate: why, as the server codes it; empty where none answered.
    :ivar everywhere: every other database of that server would refuse us too.
    """

    def __init__(
        self, cause: _Cause, sqlstate: str, message: str, hint: str, passes: bool | None = None
    ) -> None:
        passes = cause.passes if passes is None else passes
        super().__init__(f"Failed to {message}", hint, passes=passes)
        self.sqlstate, self.everywhere = sqlstate, cause.everywhere


@dataclasses.dataclass(frozen=True)
class _Cause:
    """Why a server lets nobody in.

    :ivar message: what is said after "Failed to".
    :ivar hint: what to check.
    :ivar passes: it may be otherwise a little later.
    :ivar everywhere: it is so for every database of the server.
    :ivar words: how the server says it in English.
    """

    message: str
    hint: str
    passes: bool = False
    everywhere: bool = True
    words: str = ""


_RUNNING = _Cause(
    "reach PostgreSQL at {where}: {said}",
    "Is it running? Check backup_db_host and backup_db_port",
    passes=True,
)
_SAYS_NO = _Cause(
    "log in to PostgreSQL at {where} as {user}: {said}",
    "The server's log says more of it",
    everywhere=False,
)
#: SQLSTATE -> why; the words are asked for in this order
_CAUSES = {
    "28P01": _Cause(
        "log in to PostgreSQL at {where} as {user}: {said}",
        "Check backup_db_user and backup_db_password",
        words="password authentication failed|no password supplied",
    ),
    "28000": _Cause(
        "log in to PostgreSQL at {where} as {user}: {said}",
        "Let this machine in: add a line for {user} and the database {database} to the server's "
        "pg_hba.conf; and is there such a role? Check backup_db_user",
        everywhere=False,
        words="pg_hba.conf|authentication failed for user|role .* does not exist"
        "|not permitted to log in",
    ),
    "3D000": _Cause(
        "open the database {database!r} at {where}: it does not exist",
        "Check backup_db_name",
        everywhere=False,
        words='database ".*" does not exist',
    ),
    "57P03": _Cause(
        "reach PostgreSQL at {where}: {said}",
        "Wait until it is up, then try again",
        passes=True,
        words="starting up|shutting down|in recovery|not accepting connections|not yet accepting",
    ),
    "53300": _Cause(
        "get a connection to PostgreSQL at {where}: it has none left ({said})",
        "It runs, and all its connections are taken: SELECT * FROM pg_stat_activity shows by whom. "
        "Let idle ones end, or raise max_connections (or the CONNECTION LIMIT of the role or "
        "database), then try again",
        passes=True,
        everywhere=False,
        words="too many (?:clients|connections)|remaining connection slots",
    ),
    "53200": _Cause(
        "reach PostgreSQL at {where}: {said}", NO_ROOM_FOR_LOCKS, words="max_locks_per_transaction"
    ),
    "42501": _Cause(
        "open the database {database!r}: {said}",
        'As its owner: GRANT CONNECT ON DATABASE "{database}" TO "{user}";',
        everywhere=False,
        words="permission denied|CONNECT privilege",
    ),
    "55000": _Cause(
        "open the database {database!r}: {said}",
        'As a superuser: ALTER DATABASE "{database}" ALLOW_CONNECTIONS true;',
        everywhere=False,
        words="is not currently accepting connections",
    ),
}
#: and by its first two letters: the server is shut down, or short of something
_CLASSES = {"57": _CAUSES["57P03"], "53": _RUNNING, "08": _RUNNING}
#: what a server has said stands in libpq's text behind a severity, in whatever language, and two
#: blanks
_SERVER_SAYS = re.compile(r":  \S")


def explained(
    settings: Settings, database: str, text: str, said: str, ask: Callable[[], str]
) -> DatabaseError:
    """Why a connection was refused, and what to check.

    :param text: all that libpq says of it.
    :param said: what the server says, on one line.
    :param ask: for the SQLSTATE, where the words are none that we know; see :mod:`.sqlstate`.
    """
    where = f"{settings.db_host}:{settings.db_port}"
    if "unsupported startup parameter" in text:  # PgBouncer's words; PostgreSQL takes ours
        return pooler(settings)
    if refused := _tls(settings, text, where):
        return refused
    code = _in_words(text) or (ask() if _SERVER_SAYS.search(text) else "")
    unknown = _SAYS_NO if code else _RUNNING
    cause = _CAUSES.get(code) or _CLASSES.get(code[:2]) or unknown
    about = {"where": where, "user": settings.db_user, "database": database, "said": said}
    hint = cause.hint.format(**about)
    if "no pg_hba.conf entry" in text and "no encryption" in text and "SSL encryption" not in text:
        hint = (
            "Let this machine in, by a line in the server's pg_hba.conf; where one is there for "
            "encrypted connections alone: backup_db_sslmode: verify-full"
        )
    return RefusedError(cause, code, cause.message.format(**about), hint)


def _in_words(text: str) -> str:
    """The SQLSTATE of what is said in English; empty where it is not."""
    found = (code for code, cause in _CAUSES.items() if re.search(cause.words, text, _ANY))
    return next(found, "")


_ANY = re.DOTALL | re.MULTILINE


def same_everywhere(error: DatabaseError) -> bool:
    """Every other database of that server would refuse us too."""
    if isinstance(error, RefusedError):
        return error.everywhere
    return isinstance(error, PoolerError) or error.message.startswith(_SAME_EVERYWHERE)


#: how refusals begin that no server has made: a certificate's, a container's
_SAME_EVERYWHERE = ("Failed to reach", "Failed to trust")


def _tls(settings: Settings, text: str, where: str) -> DatabaseError | None:
    """What libpq says where the way to the server cannot be encrypted as the settings ask."""
    authorities = session.tls(settings).get("sslrootcert", "")
    for said, why, hint in _REFUSALS:
        if said in text:
            return DatabaseError(
                f"Failed to trust PostgreSQL at {where}: "
                + why.format(host=settings.db_host, authorities=authorities, **_files(settings)),
                hint,
            )
    return None


def _files(settings: Settings) -> dict[str, str]:
    return {"certificate": settings.db_sslcert, "key": settings.db_sslkey}


#: words of libpq and OpenSSL, which speak English here, and what is meant
_REFUSALS = (
    (
        "does not match host name",
        "its certificate is not for the name {host}",
        "Set backup_db_host to the name in the certificate (verify-ca looks at none)",
    ),
    (
        "certificate verify failed",
        "none of the authorities in {authorities} made its certificate, or it is past its time",
        "backup_db_sslrootcert is the file, on the server, of the authority that made it",
    ),
    (
        "root certificate file",
        "the authorities in {authorities} cannot be read",
        "Put them there, where backup_user may read them, or correct backup_db_sslrootcert",
    ),
    (
        "server does not support SSL",
        "it does not encrypt (ssl is off), and {host} must",
        "Switch ssl on in its postgresql.conf, or correct backup_db_sslmode",
    ),
    (
        "private key file",
        "our own key {key} cannot be used",
        "It must be readable by backup_user alone (chmod 0600), see backup_db_sslkey",
    ),
    (
        "could not read certificate file",
        "our own certificate {certificate} cannot be read",
        "Put it there, where backup_user may read it, or correct backup_db_sslcert",
    ),
    (
        "requires a valid client certificate",
        "it asks for a certificate of ours",
        "Set backup_db_sslcert and backup_db_sslkey to files that backup_user may read",
    ),
    (
        "alert unknown ca",
        "it does not know the authority that made our own certificate {certificate}",
        "Correct backup_db_sslcert, or the server's ssl_ca_file",
    ),
)


def pooler(settings: Settings) -> PoolerError:
    """It is no server that answers, but a pooler before one."""
    return PoolerError(
        f"Failed to talk to PostgreSQL itself at {settings.db_host}:{settings.db_port}: "
        "a pooler (such as PgBouncer) answers there, and would hand our sessions on to the "
        "application, which then finds no tables",
        "Set backup_db_port (and backup_db_host) to PostgreSQL's own, usually 5432. "
        "Nothing was touched",
    )


def beside(
    settings: Settings, database: str, names: Sequence[str], refused: Sequence[DatabaseError]
) -> DatabaseError:
    """There is no other database that lets us in.

    :param names: those that were tried.
    :param refused: how each refused.
    """
    why = refused[0].message if refused else "no other database is known"
    passing = next((error for error in refused if error.passes), None)
    message = f"Failed to connect beside {database!r}: {why}"
    if passing is not None:
        return DatabaseError(message, passing.hint, passes=True)
    user, another = settings.db_user, "Is another database open to it? backup_db_maintenance"
    if any(isinstance(error, RefusedError) and error.sqlstate == "28000" for error in refused[:1]):
        return DatabaseError(message, f"{refused[0].hint}. {another}")
    return DatabaseError(
        message,
        f"{user} needs to connect to one of {', '.join(names)}: "
        f'GRANT CONNECT ON DATABASE {names[0]} TO "{user}"; {another}',
    )
