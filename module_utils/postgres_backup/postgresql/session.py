"""What every session of ours is like, whatever the server, the database or the role says by
default: our questions mean the same and the answers read the same everywhere.

Startup options beat what ``ALTER DATABASE`` and ``ALTER ROLE`` set (PostgreSQL's documentation,
"Parameter Interaction via the Shell"). Settings that only a superuser may change cannot be here:
an ordinary user would not be let in.
"""

from __future__ import annotations

from ..settings import Settings

#: of every session, ours and those of PostgreSQL's programs; each is known to every major
COMMON = {
    # nothing cuts the work short, or refuses it
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "exit_on_error": "off",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    # we are whom the settings name
    "role": "none",
    "row_security": "on",
    # a value is written in one way
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "3",
    "xmlbinary": "base64",
    "xmloption": "content",
    "quote_all_identifiers": "off",
    # and read in one way
    "array_nulls": "on",
    "backslash_quote": "safe_encoding",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    # a table of ours is an ordinary one
    "default_table_access_method": "heap",
}
#: of newer majors: since which
SINCE = {"idle_session_timeout": (14, "0"), "transaction_timeout": (17, "0")}
#: the authorities that the system trusts, where Debian and Ubuntu keep them
SYSTEM_AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def tls(settings: Settings) -> dict[str, str]:
    """How the way to the server is encrypted, as libpq's connection parameters."""
    checked = settings.db_sslmode.startswith("verify-")
    parameters = {
        "sslmode": settings.db_sslmode,
        "sslrootcert": settings.db_sslrootcert or (SYSTEM_AUTHORITIES if checked else ""),
        "sslcert": settings.db_sslcert,
        "sslkey": settings.db_sslkey,
    }
    return {name: text for name, text in parameters.items() if text}


def program_tls(settings: Settings) -> dict[str, str]:
    """The same for the environment of PostgreSQL's programs.

    In a container they talk to the server that they stand beside: our files are not there, and
    nothing is on the way that could listen.
    """
    if settings.db_container:
        return {"PGSSLMODE": "disable" if settings.db_sslmode == "disable" else "prefer"}
    return {f"PG{name.upper()}": text for name, text in tls(settings).items()}


def options(settings: dict[str, str]) -> str:
    """As libpq takes them in ``options`` and PGOPTIONS, where a blank within a value is escaped."""
    return " ".join(
        f"-c {name}={value.replace(' ', chr(92) + ' ')}" for name, value in settings.items()
    )


def program_options(major: int) -> str:
    """PGOPTIONS for programs that talk to a server of that major."""
    newer = {name: value for name, (since, value) in SINCE.items() if major >= since}
    return options(COMMON | newer)
