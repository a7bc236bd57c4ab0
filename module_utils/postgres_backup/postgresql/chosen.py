"""Of which tables of a dump the rows are loaded, where not all of them are wanted: found out in the
side database itself, once the definitions stand there.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Sequence

import psycopg

from ..settings import Settings
from .connection import connect, own_search_path, values

#: a name, or two between which a point stands, as a dump or a person writes them
_NAMES = re.compile(r'("(?:[^"]|"")+"|[^".\s]+)(?:\.|$)')
_SMALL = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
#: a foreign key as pg_dump adds it: the table, and the one that it points to
_KEY = re.compile(
    r"ALTER TABLE (?:ONLY )?(?P<child>\S.*?)\n    ADD CONSTRAINT .*? FOREIGN KEY \(.*?\) "
    r'REFERENCES (?P<parent>(?:"(?:[^"]|"")+"|[^"\s(])+)\(',
    re.DOTALL,
)
_ADDS_KEY = re.compile(rb"ALTER TABLE [^;]{1,2000}\n    ADD CONSTRAINT [^;]{1,2000} FOREIGN KEY ")
# a table is all of its partitions, and belongs to what it is a partition of; a name without a
# schema may yet be found in any
_MEANT = """
WITH given AS (
    SELECT to_regclass(%(name)s)::oid AS oid
    UNION SELECT oid FROM pg_class WHERE relname = %(bare)s AND relkind IN ('r', 'p'))
SELECT n.nspname || E'\\n' || c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid IN (
    SELECT oid FROM given
    UNION SELECT t.relid::oid FROM given, pg_partition_tree(given.oid) t
    UNION SELECT a.relid::oid FROM given, pg_partition_ancestors(given.oid) a)"""


def identifiers(name: str) -> tuple[str, ...]:
    """What a name says, its quotes taken off: ``Shop."My table"`` -> ``("shop", "My table")``."""
    return tuple(
        # without quotes, PostgreSQL makes the letters of ASCII small, and no others
        one[1:-1].replace('""', '"') if one.startswith('"') else one.translate(_SMALL)
        for one in _NAMES.findall(name)
    )


def adds_key(statement: bytes) -> bool:
    """Whether a statement of a dump adds a foreign key."""
    return _ADDS_KEY.match(statement) is not None


def parents_of(statements: Iterable[str]) -> list[str]:
    """The tables that these foreign keys point to."""
    return [match["parent"] for one in statements if (match := _KEY.match(one))]


class Chosen:
    """The tables whose rows are wanted.

    :param live: the database in which they are to be brought back.
    :param names: as a person wrote them.
    :param more: others, as a dump writes them, that these lean on.
    :param look: called once with the side database, whose own search path is set, when all
        definitions stand in it and no rows; what it raises ends the load.
    """

    def __init__(
        self,
        settings: Settings,
        live: str,
        names: Sequence[str],
        more: Sequence[str] = (),
        look: Callable[[psycopg.Connection], None] = lambda side: None,
    ) -> None:
        self._settings, self._live, self._names, self._more = settings, live, names, more
        self._look = look
        self._found: set[tuple[str, ...]] | None = None

    def with_more(self, tables: Sequence[str]) -> Chosen:
        """These, and others that they lean on."""
        return Chosen(self._settings, self._live, self._names, tables)

    @property
    def names(self) -> list[str]:
        """All of them, as SQL has them."""
        return [*self._names, *self._more]

    @property
    def more(self) -> bool:
        """What they lean on has been added."""
        return bool(self._more)

    @property
    def found(self) -> bool:
        """:meth:`find` was called."""
        return self._found is not None

    def find(self, side: str) -> None:
        """Find them in the side database, which holds all definitions by now."""
        self._found = set()
        with connect(self._settings, side) as connection:
            own_search_path(connection)
            for name in self.names:
                self._found.update(meant(connection, name))
            self._look(connection)

    def has(self, table: str) -> bool:
        """Whether the rows of this table are wanted.

        :param table: as a dump writes it.
        """
        name = identifiers(table)
        found = self._found or set()
        return name in found if len(name) > 1 else name[-1:] in {one[-1:] for one in found}

    def gone(self) -> bool:
        """Whether one of them is not there any more: then it is made again, with its keys."""
        with connect(self._settings, self._live) as connection:
            own_search_path(connection)
            return not all(meant(connection, name) for name in self._names)


def meant(connection: psycopg.Connection, name: str) -> set[tuple[str, ...]]:
    """What a table's name means in a database: it, its partitions, and what it is a partition of;
    each as :func:`identifiers` has it.

    :param connection: its search path is the database's own.
    """
    bare = identifiers(name)[-1:]
    asked = {"name": name, "bare": bare[0] if bare else name}
    try:
        with connection.transaction():
            found = values(connection, str, _MEANT, asked)
    except (psycopg.errors.SyntaxError, psycopg.errors.InvalidName):
        return set()  # not a name: who asks for it hears of that where it is looked up
    return {tuple(one.split("\n", 1)) for one in found}
