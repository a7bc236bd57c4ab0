"""How a load does what it was told to do otherwise, see :mod:`.ways`; every statement is the
server's own text for the names that are in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import NamedTuple

from ..stream.grammar import CopyHeader
from .ways import Done, Way
from .wire import Session

#: since this major CREATE INDEX and others run functions with an empty path, whatever the session's
#: is (RestrictSearchPath in namespace.c): there the functions themselves get it, until the end
_RESTRICTED_SINCE = 17
#: what runs functions of the database beside COPY
_RUNS = re.compile(
    rb"INSERT |CREATE (?:UNIQUE )?INDEX |REFRESH |ALTER (?:TABLE|DOMAIN) [^;]*? ADD CONSTRAINT ",
    re.DOTALL,
)
#: what a table's own making runs: since 16 a generated column that depends on no other is reckoned
_RECKONS = re.compile(rb"CREATE (?:UNLOGGED )?TABLE .*? GENERATED ALWAYS AS \(", re.DOTALL)
#: what comes after the indexes (pg_dump_sort.c), and would run for rows, or misses them
_AFTER_INDEXES = re.compile(
    rb"CREATE (?:CONSTRAINT |OR REPLACE )?(?:TRIGGER|RULE|POLICY|EVENT|PUBLICATION|STATISTICS|VIEW)"
    rb"|REFRESH |ALTER TABLE [^;]*?\b(?:FOREIGN KEY|ROW LEVEL SECURITY|TRIGGER|RULE)\b",
    re.DOTALL,
)
#: what its owner finds names by: the closest of what is set for him, else PostgreSQL's default.
#: Other settings may be in letters that the database's encoding does not know: they are compared
#: byte by byte
OWN_PATH = b"""
SELECT coalesce(nullif((
    SELECT substr(given.setting, length('search_path=') + 1)
    FROM pg_catalog.pg_database d
    JOIN pg_catalog.pg_db_role_setting s
      ON s.setdatabase IN (0, d.oid) AND s.setrole IN (0, d.datdba),
    LATERAL unnest(s.setconfig) AS given (setting)
    WHERE d.datname = current_database()
      AND given.setting COLLATE "C" >= 'search_path=' AND given.setting COLLATE "C" < 'search_path>'
    ORDER BY s.setrole <> 0 AND s.setdatabase <> 0 DESC, s.setrole <> 0 DESC,
             s.setdatabase <> 0 DESC
    LIMIT 1), ''), '"$user", public')"""
_SET = b"SELECT pg_catalog.set_config($1, $2, false)"
#: a table's owner, where he can take its rows himself
_AS_OWNER = b"""
SELECT pg_catalog.set_config('role', o.rolname, false)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles o ON o.oid = c.relowner
WHERE c.oid = $1::pg_catalog.regclass
  AND pg_catalog.has_schema_privilege(o.oid, c.relnamespace, 'USAGE')
  AND pg_catalog.has_table_privilege(o.oid, c.oid, 'INSERT')"""
#: CHECKs that call functions which are not in C, with how deep their table inherits; those that are
#: wholly inherited come and go with their parents'
_CHECKS = b"""
WITH RECURSIVE up (rel, parent, depth) AS (
    SELECT inhrelid, inhparent, 1 FROM pg_catalog.pg_inherits
    UNION ALL
    SELECT up.rel, i.inhparent, up.depth + 1
    FROM up JOIN pg_catalog.pg_inherits i ON i.inhrelid = up.parent
), checks AS (
    SELECT c.oid, c.conname AS name, o.rolname AS owner,
        coalesce((SELECT max(depth) FROM up WHERE up.rel = c.conrelid), 0) AS depth,
        CASE WHEN c.contypid = 0 THEN 'TABLE ' || c.conrelid::regclass
             ELSE 'DOMAIN ' || c.contypid::regtype END AS holder,
        CASE WHEN c.contypid = 0 THEN c.conrelid::regclass::text
             ELSE 'DOMAIN ' || c.contypid::regtype END AS commented,
        pg_get_constraintdef(c.oid) AS definition,
        obj_description(c.oid, 'pg_constraint') AS comment
    FROM pg_catalog.pg_constraint c
    LEFT JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
    LEFT JOIN pg_catalog.pg_type t ON t.oid = c.contypid
    JOIN pg_catalog.pg_roles o ON o.oid = coalesce(r.relowner, t.typowner)
    WHERE c.contype = 'c' AND c.convalidated AND (c.coninhcount = 0 OR c.conislocal)
      AND coalesce(r.relkind, 'r') IN ('r', 'p')
      AND pg_catalog.pg_has_role(o.oid, 'USAGE')
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e
          WHERE e.deptype = 'e' AND (e.classid, e.objid) IN (
              ('pg_class'::regclass, r.oid), ('pg_type'::regclass, t.oid)))
      AND EXISTS (SELECT FROM pg_catalog.pg_depend d
          LEFT JOIN pg_catalog.pg_operator x
            ON d.refclassid = 'pg_operator'::regclass AND x.oid = d.refobjid
          JOIN pg_catalog.pg_proc p
            ON p.oid = CASE d.refclassid WHEN 'pg_proc'::regclass THEN d.refobjid ELSE x.oprcode END
          JOIN pg_catalog.pg_language l ON l.oid = p.prolang
          WHERE d.classid = 'pg_constraint'::regclass AND d.objid = c.oid
            AND l.lanname NOT IN ('internal', 'c')))
SELECT string_agg(%b, %b) FROM checks"""
_NAMES = (b"format('%s on %s', name, commented)", b"', ' ORDER BY commented, name")
_DROPS = (
    b"format('ALTER %s DROP CONSTRAINT IF EXISTS %I', holder, name)",
    b"'; ' ORDER BY depth, holder, name",
)
_ADDS = (
    b"""format('%sALTER %s ADD CONSTRAINT %I %s; COMMENT ON CONSTRAINT %I ON %s IS %L; RESET ROLE',
        as_owner, holder, name, definition, name, commented, comment)""",
    b"'; ' ORDER BY depth DESC, holder, name",
)
#: columns of a table whose type is regclass, or made of it
_COLUMNS = b"""
WITH RECURSIVE part (attnum, type) AS (
    SELECT attnum, atttypid FROM pg_catalog.pg_attribute
    WHERE attrelid = $1::pg_catalog.regclass AND attnum > 0
    UNION
    SELECT part.attnum, made.of
    FROM part JOIN pg_catalog.pg_type t ON t.oid = part.type,
    LATERAL (VALUES (t.typelem), (t.typbasetype)
        UNION ALL SELECT atttypid FROM pg_catalog.pg_attribute
        WHERE attrelid = t.typrelid AND attnum > 0 AND t.typrelid <> 0) AS made (of)
    WHERE made.of <> 0
)
SELECT CASE WHEN bool_or(n.naming) THEN string_agg(%b, ', ' ORDER BY a.attnum) END
FROM pg_catalog.pg_attribute a,
LATERAL (SELECT EXISTS (SELECT FROM part WHERE part.attnum = a.attnum
    AND part.type = 'pg_catalog.regclass'::pg_catalog.regtype)) AS n (naming)
WHERE a.attrelid = $1::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attgenerated = ''"""
_WAITING = b"""
format('%I %s', a.attname,
       CASE WHEN n.naming THEN 'text' ELSE format_type(a.atttypid, a.atttypmod) END)"""
_TARGETS = b"quote_ident(a.attname)"
_VALUES = b"""
format(CASE WHEN n.naming THEN 'CAST(%I AS %s)' ELSE '%I' END,
       a.attname, format_type(a.atttypid, a.atttypmod))"""
#: functions that are not in C and have no path of their own
_FUNCTIONS = b"""
SELECT string_agg(format(%b), '; ')
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE l.lanname NOT IN ('internal', 'c') AND p.prokind = 'f' AND p.oid >= 16384
  AND pg_catalog.pg_has_role(p.proowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM unnest(p.proconfig) s WHERE s LIKE 'search\\_path=%%')"""
_SET_PATH = b"'ALTER FUNCTION %s SET search_path TO %s', p.oid::regprocedure, $1::text"
_RESET_PATH = b"'ALTER FUNCTION %s RESET search_path', p.oid::regprocedure"


class _Waiting(NamedTuple):
    """Rows that wait until there are indexes."""

    table: bytes
    #: where they wait
    place: bytes
    targets: bytes
    values: bytes
    line: int


class Otherwise:
    """What one load does otherwise; its methods are called within a transaction.

    :param decode: makes text of the server's bytes.
    """

    def __init__(
        self, session: Session, ways: Collection[Way], major: int, decode: Callable[[bytes], str]
    ) -> None:
        self.done = Done()
        self._session, self._ways, self._major, self._decode = session, ways, major, decode
        self._own_path = Way.SEARCH_PATH in ways
        self._path, self._own, self._adds, self._mended = b"", False, b"", b""
        self._begun = False
        self._places = 0
        self._waiting: list[_Waiting] = []

    def before(self, statement: bytes) -> None:
        """What comes next is a statement of the dump's."""
        if self._waiting and _AFTER_INDEXES.match(statement):
            self._let_in()
        runs = _RUNS.match(statement) is not None
        if runs:
            self._begin()
        self._find_names(runs or _RECKONS.match(statement) is not None)

    def stage(self, header: CopyHeader, line: int) -> bytes | None:
        """What comes next are rows: the statement that takes them to where they wait, None where
        they go right into their table.
        """
        self._begin()
        if Way.NAMES_LAST in self._ways and (columns := self._ask(_COLUMNS % _WAITING, header)):
            self._places += 1
            place = b"postgres_backup_rows_%d" % self._places
            self._session.send(b"CREATE TEMPORARY TABLE " + place + b" (" + columns + b")", line)
            targets, values = (self._ask(_COLUMNS % what, header) for what in (_TARGETS, _VALUES))
            place = b"pg_temp." + place
            self._waiting.append(_Waiting(header.table, place, targets, values, line))
            self.done.tables.append(self._decode(header.table))
            listed = b" (" + header.columns + b")" if header.columns else b""
            return b"COPY " + place + listed + b" FROM stdin"
        self._find_names(True)
        if self._with_owners:
            self._session.send(_AS_OWNER, line, [header.table])
        return None

    def staged(self) -> None:
        """The rows are in."""
        if self._own:
            self._session.send(_SET, 0, [b"role", b"none"])

    def finish(self) -> None:
        """The dump has ended: what waited is done."""
        self._let_in()
        self._find_names(bool(self._adds))
        if self._adds:
            self._session.run(self._adds)
        if self._mended:
            self._session.run(self._mended)
        # whoever counts rows plans with indexes, whose functions may be looked into for that
        self._find_names(True)

    def _begin(self) -> None:
        """All tables are made, and none of their rows is in."""
        if self._begun:
            return
        self._begun = True
        if self._own_path and self._major >= _RESTRICTED_SINCE:
            self._mend_functions()
        if Way.CHECKS_LAST in self._ways:
            self._take_checks()

    @property
    def _with_owners(self) -> bool:
        """What runs by a path that others may put something into runs with the rights of owners."""
        return self._own_path and self._session.reported("is_superuser") == "on"

    def _take_checks(self) -> None:
        names = self._ask(_CHECKS % _NAMES)
        if names:
            owner = b"''"
            if self._with_owners:
                owner = b"format('SET ROLE %I; ', owner)"
            self.done.checks = self._decode(names)
            self._adds = self._ask(_CHECKS % (_ADDS[0].replace(b"as_owner", owner), _ADDS[1]))
            self._session.run(self._ask(_CHECKS % _DROPS))

    def _mend_functions(self) -> None:
        """Give the path to the functions that have none, and note how they lose it again."""
        self._mended = self._ask(_FUNCTIONS % _RESET_PATH)
        if self._mended:
            self._find_names(True)
            self._session.run(self._ask(_FUNCTIONS % _SET_PATH, None, self._path))

    def _let_in(self) -> None:
        """The rows that wait go into their tables: there are indexes now."""
        self._find_names(True)
        for table, place, targets, values, line in self._waiting:
            into = b"INSERT INTO " + table + b" (" + targets + b") OVERRIDING SYSTEM VALUE SELECT "
            self._session.send(into + values + b" FROM " + place, line)
            self._session.send(b"DROP TABLE " + place, line)
        self._waiting = []

    def _find_names(self, own: bool) -> None:
        """By the database's own path, or as the dump says: by none."""
        if self._own_path and own != self._own:
            if not self._path:
                self._path = self._ask(OWN_PATH)
                self.done.search_path = self._decode(self._path)
            self._own = own
            self._session.send(_SET, 0, [b"search_path", self._path if own else b""])

    def _ask(self, query: bytes, header: CopyHeader | None = None, *more: bytes) -> bytes:
        """A text; empty where the server has none. Names are told in full, without a path."""
        self._find_names(False)
        self._session.send(query, 0, [header.table] if header else list(more))
        return self._session.sync() or b""
