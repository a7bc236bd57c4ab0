"""What a connection that was refused says to a person, and what to check."""

from __future__ import annotations

import re

from ..errors import DatabaseError, PoolerError
from ..settings import Settings
from . import session

#: the setting's name is in no language but its own
NO_ROOM_FOR_LOCKS = (
    "The server's room for locks is full: raise max_locks_per_transaction in its postgresql.conf "
    "(64 is the default) and restart it"
)


def explained(settings: Settings, database: str, text: str, said: str) -> DatabaseError:
    """Why a connection was refused, and what to check.

    :param text: all that libpq says of it.
    :param said: what the server says, on one line.
    """
    where = f"{settings.db_host}:{settings.db_port}"
    if "unsupported startup parameter" in text:  # PgBouncer's words; PostgreSQL takes ours
        return pooler(settings)
    if refused := _tls(settings, text, where):
        return refused
    if "password authentication failed" in text or "no password supplied" in text:
        return DatabaseError(
            f"Failed to log in to PostgreSQL at {where} as {settings.db_user}: {said}",
            "Check backup_db_user and backup_db_password",
        )
    if "no pg_hba.conf entry" in text and "no encryption" in text and "SSL encryption" not in text:
        return DatabaseError(
            f"Failed to log in to PostgreSQL at {where}: {said}",
            "Let this machine in, by a line in the server's pg_hba.conf; where one is there for "
            "encrypted connections alone: backup_db_sslmode: verify-full",
        )
    if "no pg_hba.conf entry" in text:
        return DatabaseError(
            f"Failed to log in to PostgreSQL at {where}: {said}",
            "Let this machine in: add a line to the server's pg_hba.conf",
        )
    if re.search(r'database ".*" does not exist', text, re.DOTALL):
        return DatabaseError(
            f"Failed to open the database {database!r} at {where}: it does not exist",
            "Check backup_db_name",
        )
    if "starting up" in text or "shutting down" in text or "in recovery" in text:
        return DatabaseError(
            f"Failed to reach PostgreSQL at {where}: {said}",
            "Wait until it is up, then try again",
            passes=True,
        )
    if "max_locks_per_transaction" in text:
        return DatabaseError(f"Failed to reach PostgreSQL at {where}: {said}", NO_ROOM_FOR_LOCKS)
    if "permission denied" in text or "CONNECT privilege" in text:
        return DatabaseError(
            f"Failed to open the database {database!r}: {said}",
            f'As its owner: GRANT CONNECT ON DATABASE "{database}" TO "{settings.db_user}";',
        )
    return DatabaseError(
        f"Failed to reach PostgreSQL at {where}: {said}",
        "Is it running? Check backup_db_host and backup_db_port",
        passes=True,
    )


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
