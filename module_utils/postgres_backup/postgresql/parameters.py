"""PostgreSQL's settings by their names: which names there can be, how one is set, and which of them
give power over a server.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from psycopg import sql

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(?:\.[A-Za-z_][A-Za-z0-9_$]*)*")
#: settings whose value is a list of identifiers; pg_dump treats these the same way
#: (variable_is_guc_list_quote in its dumputils.c)
_LISTS = frozenset(
    (
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    )
)
#: they load code, run it, or change in whose name something runs or what a session may touch
_POWERFUL = frozenset(
    (
        "allow_system_table_mods",
        "createrole_self_grant",
        "dynamic_library_path",
        "extension_control_path",
        "jit_provider",
        "local_preload_libraries",
        "role",
        "session_authorization",
        "session_preload_libraries",
        "session_replication_role",
        "shared_preload_libraries",
    )
)
#: languages whose settings hold code that a session runs
_LANGUAGES = ("pljava.", "plperl.", "plpython.", "plr.", "pltcl.", "plv8.")


def is_name(name: str) -> bool:
    """Whether a setting may be called so."""
    return len(name) <= 255 and _NAME.fullmatch(name) is not None


def is_powerful(name: str) -> bool:
    """Whether it gives power over the server, and not only over how rows are read or written."""
    return name.lower() in _POWERFUL or name.lower().startswith(_LANGUAGES)


def assignment(name: str, values: Sequence[str]) -> sql.Composed:
    """``SET name TO values``, for behind an ``ALTER``; several values are those of a list.

    :param name: see :func:`is_name`.
    """
    return sql.SQL("SET {} TO {}").format(
        sql.SQL(".").join(map(sql.Identifier, name.split("."))),
        sql.SQL(", ").join(map(sql.Literal, values)),
    )


def values_of(name: str, text: str) -> list[str]:
    """What stands in the catalogs as one text, as the values that :func:`assignment` takes."""
    if name.lower() not in _LISTS:
        return [text]
    items = [
        match[0] if match[0].startswith('"') else match[0].strip()
        for match in re.finditer(r'"(?:[^"]|"")*"|[^,\s][^,]*', text)
    ]
    return [item[1:-1].replace('""', '"') if item.startswith('"') else item for item in items] or [
        ""
    ]
